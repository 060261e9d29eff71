"""Graphs of baskets with times, against definitions written out."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import open_release
from pipeline.learning.item_graphs.baskets import again, basket_ease, follow, repeat
from pipeline.learning.item_graphs.builders import GraphInputs, item_graphs
from pipeline.learning.item_graphs.purchases import DECAY, SHRINK, STEPS, Baskets, Purchases
from pipeline.learning.item_graphs.sequences import Sequences
from pipeline.learning.item_graphs.text_similarity import ItemTexts
from pipeline.release.config.recipe import GraphSpec
from pipeline.release.config.recipes import SEASONS

ITEMS = 4
TOTAL = sum(DECAY**step for step in range(STEPS))
NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - shops' files carry no zone


@pytest.fixture
def purchases() -> Purchases:
    """One user takes 0, then 0 and 1 ten days later; another takes 1 and 2 at once, long ago."""
    users, sessions, rows, ages = np.array(
        [(0, 0, 0, 20), (0, 1, 0, 10), (0, 1, 1, 10), (1, 2, 1, 40), (1, 2, 2, 40)]
    ).T
    return Purchases(users, sessions, rows, ages.astype(np.float32))


@pytest.fixture
def baskets(purchases: Purchases) -> Baskets:
    """Return the same as baskets."""
    return purchases.baskets(ITEMS)


def test_a_step_counts_by_the_age_of_where_it_led(baskets: Baskets):
    """Ten days are a half-life: the later basket counts half, and so does every basket with the item it came from."""
    seen = 0.25 + 0.5  # baskets with item 0, twenty and ten days old
    expected = 0.5 / (seen * TOTAL + SHRINK)
    assert repeat(baskets, half_life=10.0).toarray()[0, 0] == pytest.approx(expected)
    assert follow(baskets, half_life=10.0).toarray()[0].tolist() == pytest.approx([0, expected, 0, 0])


def test_without_a_half_life_age_does_not_matter(baskets: Baskets):
    """Counts are those of the transitions as they always were."""
    assert repeat(baskets).toarray()[0, 0] == pytest.approx(1 / (2 * TOTAL + SHRINK))


def test_again_is_recent_demand_on_the_diagonal(baskets: Baskets):
    """log(1 + baskets), each counting half for every half-life that passed; an item itself and no other."""
    table = again(baskets, half_life=10.0).toarray()
    assert np.diag(table) == pytest.approx(np.log1p([0.75, 0.5 + 1 / 16, 1 / 16, 0]))
    assert np.count_nonzero(table - np.diag(np.diag(table))) == 0


def test_basket_ease_is_its_closed_form_over_baskets(baskets: Baskets):
    """Each basket is a row; old ones weigh less."""
    weights = baskets.weights(10.0)
    gram = baskets.held.toarray().T @ np.diag(weights) @ baskets.held.toarray() + 2 * np.eye(ITEMS)
    inverse = np.linalg.inv(gram)
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert basket_ease(baskets, l2=2.0, half_life=10.0) == pytest.approx(expected, abs=1e-5)


def test_every_graph_of_the_recipe_is_computed(baskets: Baskets):
    """Each kind and option that the recipe names exists, and none is of another size than the catalogue."""
    texts = ItemTexts(["red pen", "red ink", "blue ink", "desk"], [""] * ITEMS, np.eye(ITEMS, dtype=np.float32), seed=1)
    evidence = GraphInputs(Sequences.of([], ITEMS), texts, baskets)
    graphs = dict(item_graphs(SEASONS.graphs, evidence, neighbours=3))
    assert {name: graph.items for name, graph in graphs.items()} == dict.fromkeys(SEASONS.graphs, ITEMS)
    pens = graphs["words"].weighted_sum(np.array([0]), np.ones(1, np.float32))
    assert pens[0] == 0
    assert pens[1] > pens[3]


def test_graphs_of_baskets_need_baskets():
    """A recipe that asks for them where there are none is refused."""
    evidence = GraphInputs(Sequences.of([], ITEMS), ItemTexts([""] * ITEMS, [""] * ITEMS, np.eye(ITEMS), seed=1))
    with pytest.raises(InvalidRequest, match="baskets"):
        list(item_graphs({"it": GraphSpec("repeat")}, evidence, neighbours=3))


def test_purchases_of_events_have_ages_and_leave_unknown_items_out(tiny_release: object):
    """Users and sessions are numbered in order, ages are days before the moment."""
    catalogue = Catalogue.open(open_release(str(tiny_release)).file(CATALOGUE))
    known = catalogue.item_ids[5]
    events = pl.DataFrame(
        {
            "user_id": ["b", "a", "a", "a"],
            "item_id": [known, known, "nothing", known],
            "timestamp": [NOON - timedelta(days=day) for day in (1, 1, 2, 3)],
            "session_id": ["s", "s", "s", "t"],
        }
    )
    found = Purchases.of(events, catalogue, NOON)
    assert found.users.tolist() == [0, 0, 1]
    assert found.sessions.tolist() == [0, 1, 2]
    assert found.rows.tolist() == [5, 5, 5]
    assert found.ages.tolist() == [3, 1, 1]

"""What each source finds in the shop, alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item

OpenShop = Callable[..., FirstStage]


def found(stage: FirstStage, source: str, **request: object) -> dict[str, float]:
    """Return what one source found: its scores by item, best first; what only fills up is left out."""
    candidates = stage.retrieve([Request(sources=[source], **request)])[0]  # type: ignore[arg-type]
    return scores_of(candidates, source)


def scores_of(candidates: Candidates, source: str) -> dict[str, float]:
    """Return the scores of one source by item."""
    scores = candidates.source_scores[:, candidates.sources.index(source)].tolist()
    pairs = zip(candidates.item_ids, scores, strict=True)
    return {item_id: round(score, 4) for item_id, score in pairs if score == score}  # noqa: PLR0124 - NaN: not found


def test_semantic_finds_what_the_query_says(shop: FirstStage):
    """Items whose text is near the query come first, those of one text with one score."""
    scores = found(shop, "semantic", query="fresh milk")
    assert list(scores)[:3] == ["milk-1", "milk-2", "milk-3"]
    assert scores["milk-1"] == scores["milk-2"] > 0.5
    assert len(scores) == 8


def test_semantic_takes_a_vector_of_any_length(shop: FirstStage):
    """A given vector stands in for the query, whatever its length."""
    vector = 1e-3 * shop._parts.encoder.encode(["hand soap orchard household"])[0]
    scores = found(shop, "semantic", query="fresh milk", vector=vector.astype(np.float32))
    assert next(iter(scores)) == "soap"
    assert scores["soap"] == pytest.approx(1, abs=1e-3)


def test_semantic_without_a_query_follows_the_interest(shop: FirstStage):
    """Without a query the recency-weighted mean of the history's vectors is searched around."""
    assert next(iter(found(shop, "semantic", history_item_ids=["soap", "roll"]))) == "roll"
    assert next(iter(found(shop, "semantic", history_item_ids=["roll", "soap"]))) == "soap"
    mean = np.array([0.5, 1]) @ shop._nearest.of(shop.view, shop.view.rows_of(["roll", "soap"]))
    scores = found(shop, "semantic", history_item_ids=["roll", "soap"])
    assert scores["soap"] == pytest.approx(
        mean @ shop._nearest.of(shop.view, np.array([6]))[0] / np.linalg.norm(mean), abs=1e-3
    )


def test_similar_searches_around_each_recent_item(shop: FirstStage):
    """Each recent item's surroundings are found, weighed by how long ago it was, its own text included."""
    scores = found(shop, "similar", history_item_ids=["soap", "milk-2"])
    assert (scores["milk-2"], scores["milk-1"], scores["soap"]) == (1.0, 1.0, 0.5)
    assert scores["sponge"] < 0.5


def test_similar_looks_at_recent_items_alone(open_shop: OpenShop):
    """Only as many of the most recent distinct items are searched around as the release says."""
    shop = open_shop(sources={"similar": {"recent": 1}})
    scores = found(shop, "similar", history_item_ids=["soap", "milk-2", "milk-2"])
    assert scores["milk-2"] == 1.0
    assert scores["soap"] < 0.5


def test_behaviour_sums_what_users_go_on_to(shop: FirstStage):
    """The neighbours of every history item add up, each weighed by how long ago it was; the item itself may be one."""
    scores = found(shop, "behaviour", history_item_ids=["milk-1", "milk-1", "bread"])
    assert scores == {"cheese": 4.0, "milk-1": 3 * 0.75 + 1, "bread": 2 * 0.75}


def test_popular_finds_what_anybody_ever_wanted(shop: FirstStage):
    """Items come by popularity; those never wanted are not found."""
    scores = found(shop, "popular")
    assert list(scores) == ["milk-1", "bread", "milk-3", "cheese", "milk-2", "soap"]


@pytest.mark.parametrize("source", ["similar", "behaviour"])
def test_sources_that_know_nothing_of_the_user(shop: FirstStage, source: str):
    """Without a history these sources find nothing, and the answer is filled up."""
    assert found(shop, source, query="milk") == {}


def test_semantic_knows_nothing_of_nobody(shop: FirstStage):
    """Without query and history the semantic source finds nothing."""
    assert found(shop, "semantic") == {}


@pytest.mark.parametrize("source", ["semantic", "similar", "behaviour", "popular"])
def test_sources_keep_to_what_is_allowed(shop: FirstStage, source: str):
    """No source finds an excluded item, and the next one takes its place."""
    history = ["milk-1", "bread"]
    before = found(shop, source, history_item_ids=history)
    after = found(shop, source, history_item_ids=history, exclude_item_ids=["cheese", "milk-1", "unheard of"])
    assert list(after) == [item_id for item_id in before if item_id not in ("cheese", "milk-1")]


def test_added_items_are_found_by_their_text(live_shop: FirstStage):
    """An added item is found near a query and near a history, also from itself."""
    live_shop.upsert([Item("oats", "rolled oats", category="bakery"), Item("roll", "sweet roll")])
    assert next(iter(found(live_shop, "semantic", query="rolled oats"))) == "oats"
    assert next(iter(found(live_shop, "similar", history_item_ids=["oats"]))) == "oats"
    assert next(iter(found(live_shop, "semantic", query="sweet roll"))) == "roll"
    assert found(live_shop, "behaviour", history_item_ids=["oats"]) == {}


def test_replaced_items_keep_their_behaviour_and_popularity(live_shop: FirstStage):
    """A replaced item is still what users go on to, leads on to what it did, and is as popular as before."""
    history = ["milk-1", "milk-1", "bread"]
    before = found(live_shop, "behaviour", history_item_ids=history), found(live_shop, "popular")
    live_shop.upsert([Item("milk-1", "fresh milk", "acme", "dairy", price=9.0), Item("cheese", "soft cheese")])
    assert (found(live_shop, "behaviour", history_item_ids=history), found(live_shop, "popular")) == before


def test_deleted_items_are_found_no_more_but_remembered(live_shop: FirstStage):
    """A deleted item is not found by any source, yet a history with it still says what the user likes."""
    live_shop.delete(["milk-1"])
    assert found(live_shop, "behaviour", history_item_ids=["milk-1"]) == {"bread": 2.0}
    assert list(found(live_shop, "similar", history_item_ids=["milk-1"]))[:2] == ["milk-2", "milk-3"]
    assert list(found(live_shop, "popular")) == ["bread", "milk-3", "cheese", "milk-2", "soap"]

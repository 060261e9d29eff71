"""Which items are counted in tables of behaviour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from common.release.catalogue import Catalogue
from common.release.item_graph import ItemGraph
from common.release.layout import CATALOGUE
from common.release.store import open_release
from pipeline.data.dataset.event_kinds import TARGET
from pipeline.tables.learned_items import GraphItems, events_of_learned, learned_items


def test_an_item_learns_from_behaviour_with_enough_buyers_not_events():
    """Many purchases of one user are one buyer; events of the others are left out."""
    events = pl.DataFrame({"item_id": ["a", "a", "a", "b", "b"], "user_id": ["u", "u", "u", "u", "v"]})
    assert learned_items(events, 2).to_list() == ["b"]
    assert events_of_learned(events, 2)["item_id"].to_list() == ["b", "b"]
    assert events_of_learned(events, 1).height == events.height


def test_viewers_are_no_buyers():
    """An item that many look at and one buys has one buyer; its views count if that is enough."""
    events = pl.DataFrame(
        {"item_id": ["a"] * 3 + ["b"] * 2, "user_id": list("uvwuv"), TARGET: [False, False, True, True, True]}
    )
    assert learned_items(events, 2).to_list() == ["b"]
    assert events_of_learned(events, 1).height == events.height


def test_a_large_catalogue_has_tables_of_the_items_that_were_bought(tiny_release: Path, tiny_events: pl.DataFrame):
    """Over the bound only items with buyers are in tables of all pairs; below it every item is."""
    catalogue = Catalogue.open(open_release(str(tiny_release)).file(CATALOGUE))
    some = tiny_events.head(50)
    assert GraphItems.choose(catalogue, some, 1, len(catalogue)).are_all
    chosen = GraphItems.choose(catalogue, some, 0, len(catalogue) - 1)
    assert {catalogue.item_ids[row] for row in chosen.rows} == set(some["item_id"])


def test_tables_of_some_items_become_tables_of_all():
    """Rows and columns of the tables stand where the catalogue has the items; the others have none."""
    some = GraphItems(np.array([1, 3]), 5)
    graph = some.with_all_rows(
        ItemGraph(np.array([0, 1, 3]), np.array([1, 0, 1], np.int32), np.array([0.5, 1.0, 2.0], np.float32))
    )
    assert graph.indptr.tolist() == [0, 0, 1, 1, 3, 3]
    assert graph.indices.tolist() == [3, 1, 3]
    assert some.places_of(np.array([3, 0, -1, 1])).tolist() == [1, -1, -1, 0]
    square = some.square(sp.csr_matrix(np.array([[0, 1], [2, 0]], np.float32))).toarray()
    assert square[1, 3] == 1.0
    assert square[3, 1] == 2.0
    assert square.sum() == 3.0

"""A live catalogue agrees with a dictionary after any sequence of changes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from common.release.catalogue import SCHEMA, Catalogue
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.live_catalogue import ChangeCounts, LiveCatalogue
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.maintenance.delta_compaction import DeltaCompaction, DeltaCompactionOptions
from services.retrieval.search.item_search import ItemSearch

IDS = [f"item-{number}" for number in range(9)]
RELEASED = IDS[:5]
ids = st.sampled_from(IDS)
prices = st.dictionaries(ids, st.integers(0, 99), max_size=4)
changes = st.lists(st.tuples(prices, st.lists(ids, max_size=3, unique=True)), max_size=25)


def catalogue() -> Catalogue:
    """Return a catalogue of items that cost 1000."""
    columns = {name: [None] * len(RELEASED) for name in SCHEMA.names}
    columns |= {"item_id": RELEASED, "title": RELEASED, "text": RELEASED, "available": [True] * len(RELEASED)}
    columns |= {"price": [1000.0] * len(RELEASED), "token_ids": [[]] * len(RELEASED)}
    return Catalogue(pa.table(columns, schema=SCHEMA))


@given(steps=changes)
@settings(max_examples=150, deadline=None)
def test_the_catalogue_agrees_with_a_dictionary(steps: list[tuple[dict[str, int], list[str]]]):
    """After each change and compaction the snapshot has exactly the right items, rows, origins and counts."""
    live, model = LiveCatalogue(catalogue(), 1), dict.fromkeys(RELEASED, 1000.0)
    vector_of_item = np.zeros(len(RELEASED), np.int64)
    items_of_release = ItemVectors(vector_of_item, 1, np.zeros(len(RELEASED), np.float32))
    search = ItemSearch(FlatIndex(np.ones((1, 1), np.float32)), np.ones((1, 1), np.float32), items_of_release, cached=0)
    compaction = DeltaCompaction(live, search, DeltaCompactionOptions(min_superseded=3))  # due after a few changes
    for upserts, deleted in steps:
        deleted_only = [item_id for item_id in deleted if item_id not in upserts]
        items = [Item(item_id, "thing", price=float(price)) for item_id, price in upserts.items()]
        vectors = np.array([[item.price] for item in items], dtype=np.float32).reshape(-1, 1)
        applied = live.apply(items, vectors, deleted_only)
        assert applied == ChangeCounts(
            inserted=sum(item_id not in model for item_id in upserts),
            replaced=sum(item_id in model for item_id in upserts),
            deleted=sum(item_id in model for item_id in deleted_only),
            missing=sum(item_id not in model for item_id in deleted_only),
        )
        model |= {item.item_id: item.price or 0.0 for item in items}
        model = {item_id: price for item_id, price in model.items() if item_id not in deleted_only}
        agree(live, model)
        compaction.run_if_due()
        agree(live, model)


def agree(live: LiveCatalogue, model: dict[str, float]) -> None:
    """Compare a catalogue's snapshot with the prices that it should hold."""
    snapshot = live.snapshot
    live_rows = np.flatnonzero(snapshot.is_live)
    assert (
        dict(zip(snapshot.item_ids(live_rows), (item.price for item in snapshot.items_at(live_rows)), strict=True))
        == model
    )
    assert snapshot.item_count == len(model)
    rows = snapshot.rows_of(IDS)
    assert [row >= 0 for row in rows.tolist()] == [item_id in model for item_id in IDS]
    there = rows[rows >= 0]
    assert snapshot.item_ids(snapshot.origin_of(there)[snapshot.origin_of(there) >= 0]) == [
        i for i in RELEASED if i in model
    ]
    if snapshot.current_row is not None:
        assert snapshot.current_row.tolist() == rows[: len(RELEASED)].tolist()
    added = there[there >= len(RELEASED)]
    assert snapshot.delta.vectors[added - len(RELEASED), 0].tolist() == [
        item.price for item in snapshot.items_at(added)
    ]

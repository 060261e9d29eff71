"""A live catalogue agrees with a dictionary after any sequence of changes."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from common.release.catalogue import SCHEMA, Catalogue
from services.retrieval.catalogue import live_catalogue
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.live_catalogue import ChangeCounts, LiveCatalogue

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
def test_the_catalogue_is_what_was_said_last(steps: list[tuple[dict[str, int], list[str]]]):
    """After each change the view has exactly the items that there should be, with rows, origins and counts that fit."""
    with patch.object(live_catalogue, "_FEW_ROWS", 3):  # so that superseded rows are left out within a short sequence
        live, model = LiveCatalogue(catalogue(), 1), dict.fromkeys(RELEASED, 1000.0)
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
            live.tend()
            agree(live, model)


def agree(live: LiveCatalogue, model: dict[str, float]) -> None:
    """Compare a catalogue's view with the prices that it should hold."""
    view = live.view
    alive = np.flatnonzero(view.alive)
    assert dict(zip(view.item_ids(alive), (item.price for item in view.read(alive)), strict=True)) == model
    assert view.items == len(model)
    rows = view.rows_of(IDS)
    assert [row >= 0 for row in rows.tolist()] == [item_id in model for item_id in IDS]
    there = rows[rows >= 0]
    assert view.item_ids(view.origin_of(there)[view.origin_of(there) >= 0]) == [i for i in RELEASED if i in model]
    if view.current_row is not None:
        assert view.current_row.tolist() == rows[: len(RELEASED)].tolist()
    added = there[there >= len(RELEASED)]
    assert view.added.vectors[added - len(RELEASED), 0].tolist() == [item.price for item in view.read(added)]

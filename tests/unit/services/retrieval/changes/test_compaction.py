"""Log compaction keeps the last state of every item."""

from __future__ import annotations

import numpy as np

from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change import Change
from services.retrieval.changes.compaction import Compaction


def change(item_ids: str, value: float, encoder: str = "e", deleted: str = "") -> Change:
    """Return a change of items with ids of one letter, with the value as price and vector."""
    items = tuple(Item(item_id, "thing", price=value) for item_id in item_ids)
    return Change(items, np.full((len(items), 2), value, "f4"), encoder, tuple(deleted))


def test_the_last_state_is_kept():
    """Each item keeps the state of its last change and that change's encoder; deletions are kept."""
    last = Compaction([change("abc", 1.0), change("bc", 2.0, "other"), change("", 0.0, deleted="cx"), change("x", 3.0)])
    kept = list(last.changes())
    assert (len(last), last.superseded) == (4, 4)
    states = [(item.item_id, item.price, each.encoder) for each in kept for item in each.items]
    assert sorted(states) == [("a", 1.0, "e"), ("b", 2.0, "other"), ("x", 3.0, "e")]
    assert [item_id for each in kept for item_id in each.deleted] == ["c"]
    assert {float(vector[0]) for each in kept for vector in each.vectors} == {1.0, 2.0, 3.0}


def test_changes_are_merged():
    """A compacted change holds up to 1,000 items, whatever number of changes they came from."""
    changes = [Change((Item(f"i{number}", "thing"),), np.ones((1, 2), "f4"), "e") for number in range(1_500)]
    assert [len(each.items) for each in Compaction(changes).changes()] == [1_000, 500]

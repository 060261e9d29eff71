"""Changes as bytes."""

from __future__ import annotations

import numpy as np
import pytest

from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change import Change


def test_a_change_is_read_back_from_its_bytes():
    """Items with every field, vectors, encoder and deletions survive; an item's own vector is in `vectors` alone."""
    items = (Item("a", "Käse ♥", "b", "c", "d", 1.25, available=False, vector=np.ones(2)), Item("b", "plain"))
    vectors = np.array([[1, -2], [0.5, 0]], np.float32)
    read = Change.from_bytes(Change(items, vectors, "sha", ("x", "y")).to_bytes())
    assert [vars(item) for item in read.items] == [vars(item) | {"vector": None} for item in items]
    assert read.vectors.dtype == np.float32
    assert read.vectors.tolist() == vectors.tolist()
    assert (read.encoder, read.deleted) == ("sha", ("x", "y"))


def test_a_change_without_items_keeps_its_dimension():
    """A deletion has no vectors, of the encoder's dimension."""
    read = Change.from_bytes(Change((), np.empty((0, 3), np.float32), "sha", ("x",)).to_bytes())
    assert (read.items, read.vectors.shape, read.deleted) == ((), (0, 3), ("x",))


@pytest.mark.parametrize("cut", [1, 7])
def test_cut_bytes_are_refused(cut: int):
    """Bytes without a part of the vectors are not a change."""
    data = Change((Item("a", "thing"),), np.ones((1, 2), np.float32), "sha").to_bytes()
    with pytest.raises(ValueError, match=r"buffer|reshape"):
        Change.from_bytes(data[:-cut])

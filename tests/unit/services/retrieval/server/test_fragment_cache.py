"""Fragments of items are serialised once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from common.arrays import RowIndices
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.server.fragment_cache import FragmentCache, field_header


class Serialiser:
    """Serialises items as their ids; records how often."""

    def __init__(self) -> None:
        self.items: list[str] = []

    def __call__(self, snapshot: Snapshot, rows: RowIndices) -> Iterable[bytes]:
        """Return the ids as bytes."""
        item_ids = snapshot.item_ids(rows)
        self.items += item_ids
        return [item_id.encode() for item_id in item_ids]


def test_each_item_is_serialised_once(live_shop: FirstStage):
    """Items of the release and added items are serialised when first asked for, and again once replaced."""
    live_shop.writer.upsert([Item("oats", "oats")])
    serialise = Serialiser()
    cache = FragmentCache(100, serialise)
    rows = live_shop.snapshot.rows_of(["milk-1", "oats", "bread"])
    for _ in range(2):
        assert cache.fragments(live_shop.snapshot, rows) == [b"milk-1", b"oats", b"bread"]
    live_shop.writer.upsert([Item("oats", "rolled oats")])
    cache.fragments(live_shop.snapshot, live_shop.snapshot.rows_of(["oats", "bread"]))
    assert serialise.items == ["milk-1", "oats", "bread", "oats"]


def test_a_full_cache_starts_again(shop: FirstStage):
    """A cache of three fragments drops all of them for a fourth."""
    serialise = Serialiser()
    cache = FragmentCache(3, serialise)
    for rows in ([0, 1, 2], [3], [0]):
        cache.fragments(shop.snapshot, np.array(rows))
    assert serialise.items == ["milk-1", "milk-2", "milk-3", "cheese", "milk-1"]


def test_fragments_with_header_are_cached_for_each_header(shop: FirstStage):
    """The header holds the length of fragment and following bytes; no header gets the bytes of another one."""
    serialise = Serialiser()
    cache, row = FragmentCache(100, serialise), np.array([0])
    for further_bytes in (0, 10, 300, 0):
        header = field_header(b"\x0a", len("milk-1") + further_bytes)
        assert cache.fragments_with_header(shop.snapshot, row, b"\x0a", further_bytes) == [header + b"milk-1"]
    assert serialise.items == ["milk-1"]


@pytest.mark.parametrize(
    ("length", "varint"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02"), (16_384, b"\x80\x80\x01")],
)
def test_a_header_is_tag_and_varint(length: int, varint: bytes):
    """Lengths are varints: seven bits to a byte, the lowest first."""
    assert field_header(b"\x0a", length) == b"\x0a" + varint

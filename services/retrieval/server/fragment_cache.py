"""Caches of the part of a response that is the same for every request: an item's serialised fields."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from common.arrays import RowIndices
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.snapshot import Snapshot

# Most responses of a server come from the same sources, so their headers differ in the length of the fragment alone.
_MAX_HEADER_KINDS: Final = 2


class FragmentCache:
    """The serialised fields of each item.

    Safe for threads: two threads may make the same fragment, with the same bytes.

    Args:
        size: How many fragments are cached; about 300 bytes each for candidates, 80 for ids.
        serialise: Serialises items of a snapshot.
    """

    def __init__(self, size: int, serialise: Callable[[Snapshot, RowIndices], Iterable[bytes]]) -> None:
        self._size = size
        self._serialise = serialise
        self._fragments: dict[int | Item, bytes] = {}
        self._with_header: dict[tuple[bytes, int], dict[int | Item, bytes]] = {}

    def fragments(self, snapshot: Snapshot, rows: RowIndices) -> list[bytes]:
        """Return the fragments of items. The key of an item of the release is its row, of any other the item itself."""
        return self._get_all(self._fragments, snapshot, rows, self._serialise)

    def fragments_with_header(
        self, snapshot: Snapshot, rows: RowIndices, tag: bytes, further_bytes: int
    ) -> list[bytes]:
        """Return each fragment behind the header of a message field.

        Args:
            snapshot: The state of the catalogue.
            rows: Rows of items.
            tag: The tag of the message field.
            further_bytes: How many bytes of the message follow the fragment.
        """

        def serialise(snapshot: Snapshot, rows: RowIndices) -> Iterable[bytes]:
            fragments = self.fragments(snapshot, rows)
            return with_headers(tag, fragments, [further_bytes] * len(fragments))

        cached = self._with_header.get((tag, further_bytes))
        if cached is None:
            if len(self._with_header) >= _MAX_HEADER_KINDS:
                self._with_header = {}
            cached = self._with_header.setdefault((tag, further_bytes), {})
        return self._get_all(cached, snapshot, rows, serialise)

    def _get_all(
        self,
        cached: dict[int | Item, bytes],
        snapshot: Snapshot,
        rows: RowIndices,
        serialise: Callable[[Snapshot, RowIndices], Iterable[bytes]],
    ) -> list[bytes]:
        keys = _keys(snapshot, rows)
        with suppress(KeyError):  # usually all are cached
            return list(map(cached.__getitem__, keys))
        fragments: list[Any] = list(map(cached.get, keys))
        missing = [place for place, fragment in enumerate(fragments) if fragment is None]
        if len(cached) + len(missing) > self._size:
            cached.clear()  # to choose what to evict would cost more
        for place, fragment in zip(missing, serialise(snapshot, rows[missing]), strict=True):
            fragments[place] = cached[keys[place]] = fragment
        return fragments


def with_headers(tag: bytes, fragments: Sequence[bytes], further_bytes: Sequence[int]) -> list[bytes]:
    """Return fragments behind the headers of message fields, of which ``further_bytes`` follow each."""
    lengths = map(operator.add, map(len, fragments), further_bytes)
    return [field_header(tag, length) + fragment for length, fragment in zip(lengths, fragments, strict=True)]


@lru_cache(4_096)
def field_header(tag: bytes, length: int) -> bytes:
    """Return the header of a length-delimited field: its tag, and the length of its value as a varint."""
    header = bytearray(tag)
    while length > 0x7F:  # noqa: PLR2004 - seven bits to a byte
        header.append(length & 0x7F | 0x80)
        length >>= 7
    header.append(length)
    return bytes(header)


def _keys(snapshot: Snapshot, rows: RowIndices) -> Sequence[int | Item]:
    numbers: list[int] = rows.tolist()
    base = len(snapshot.base)
    if not numbers or max(numbers) < base:  # usually all are items of the release
        return numbers
    items = snapshot.delta.items
    return [row if row < base else items[row - base] for row in numbers]

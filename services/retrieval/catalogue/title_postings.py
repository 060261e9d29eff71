"""Postings of the titles of added items, for BM25 (`sources/bm25.py` says why they are hand-written)."""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from common.arrays import Float32Array, RowIndices
from common.text import words

# A title's number, how often it has the word, and how many words it has.
_ENTRY: Final = struct.Struct("3d")


_NO_ENTRIES: Final = array("d")


class TitlePostings:
    """The words of titles that only ever grow at their end. One writer; readers say how far they know of."""

    def __init__(self) -> None:
        # Of each word one run of numbers, three a title: bytes are taken in and read whole, so that a reader sees a
        # number and what belongs to it together.
        self._entries: dict[str, array[float]] = {}

    def put(self, first: int, titles: Sequence[str]) -> None:
        """Add titles, numbered from ``first``."""
        for number, title in enumerate(titles, first):
            found = words(title)
            for word, times in Counter(found).items():
                entries = self._entries.get(word)
                if entries is None:
                    entries = self._entries[word] = array("d")
                entries.frombytes(_ENTRY.pack(number, times, len(found)))

    def with_word(self, word: str, count: int) -> tuple[RowIndices, Float32Array, Float32Array]:
        """Return which of the first ``count`` titles have a word, how often, and how many words they have."""
        table = np.frombuffer(self._entries.get(word, _NO_ENTRIES).tobytes()).reshape(-1, 3)
        table = table[: np.searchsorted(table[:, 0], count)]
        return table[:, 0].astype(np.int64), table[:, 1].astype(np.float32), table[:, 2].astype(np.float32)

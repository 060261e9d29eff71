"""Postings of the titles of added items, for BM25 (`sources/bm25.py` says why they are hand-written)."""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from common.arrays import Float32Array, RowIndices
from services.retrieval.catalogue.stemming import title_stems

# A posting: the title's row, how often it has the word, and its number of words.
_POSTING: Final = struct.Struct("3d")
_NO_POSTINGS: Final = array("d")


class TitlePostings:
    """For each stem, the titles that have it. One writer appends; readers pass how many titles they know of."""

    def __init__(self) -> None:
        # One array of numbers per word, three per posting. Bytes are appended and copied in one step each, so a reader
        # sees a posting whole or not at all.
        self._postings: dict[str, array[float]] = {}

    def append(self, first_row: int, titles: Sequence[str]) -> None:
        """Add titles, whose rows begin with ``first_row``."""
        for row, title in enumerate(titles, first_row):
            found = title_stems(title)
            for word, frequency in Counter(found).items():
                postings = self._postings.get(word)
                if postings is None:
                    postings = self._postings[word] = array("d")
                postings.frombytes(_POSTING.pack(row, frequency, len(found)))

    def __contains__(self, word: str) -> bool:
        return word in self._postings

    def with_word(self, word: str, count: int) -> tuple[RowIndices, Float32Array, Float32Array]:
        """Return the rows of those of the first ``count`` titles that have a word, its frequency, and their lengths."""
        table = np.frombuffer(self._postings.get(word, _NO_POSTINGS).tobytes()).reshape(-1, 3)
        table = table[: np.searchsorted(table[:, 0], count)]
        return table[:, 0].astype(np.int64), table[:, 1].astype(np.float32), table[:, 2].astype(np.float32)

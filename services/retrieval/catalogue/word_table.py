"""Words, and those of them that are spelled nearly like a given one.

Every word has two signatures of 64 bits: its letters and its pairs of letters. A word within a few edits differs from
another in few bits, so that only a small part of the words is compared letter by letter (Boytsov, "Indexing methods for
approximate dictionary searching", https://doi.org/10.1145/1963190.1963191, section on signature hashing).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import OSA

from services.retrieval.catalogue.growable_array import GrowableArray

_BITS: Final = 64
# The most bits that one edit changes: a substitution two letters; a transposition three pairs before and three after.
_LETTERS_PER_EDIT: Final = 2
_PAIRS_PER_EDIT: Final = 6
# Longer words are no words; the bound keeps their lengths in one byte.
MAX_LETTERS: Final = 40


class NearWord(NamedTuple):
    """A word, and how many edits it is away."""

    word: str
    edits: int


class WordTable:
    """Words, each once, appended by one writer; safe for any number of readers."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._words: list[str] = []
        self._known: set[str] = set()
        self._letters = GrowableArray(np.uint64)
        self._pairs = GrowableArray(np.uint64)
        self._lengths = GrowableArray(np.int8)
        self.append(words)

    def __len__(self) -> int:
        return len(self._words)

    def append(self, words: Iterable[str]) -> None:
        """Append the words that are not there yet; those of more than 40 letters are left out."""
        added = [word for word in dict.fromkeys(words) if len(word) <= MAX_LETTERS and word not in self._known]
        self._known.update(added)
        self._words += added
        self._letters.append(np.array([_signature(word) for word in added], np.uint64))
        self._pairs.append(np.array([_signature(_pairs(word)) for word in added], np.uint64))
        # Readers see as many words as there are lengths, so these come last.
        self._lengths.append(np.array([len(word) for word in added], np.int8))

    def near(self, word: str, edits: int) -> list[NearWord]:
        """Return the words within a number of edits: a letter more, less or another, or two neighbours swapped.

        The distance is the restricted one (optimal string alignment): no letter is edited twice.
        """
        lengths = self._lengths.rows
        if len(word) > MAX_LETTERS or not len(lengths):
            return []
        letters, pairs = self._letters.rows[: len(lengths)], self._pairs.rows[: len(lengths)]
        is_near = np.abs(lengths - np.int8(len(word))) <= edits
        is_near &= np.bitwise_count(letters ^ np.uint64(_signature(word))) <= _LETTERS_PER_EDIT * edits
        is_near &= np.bitwise_count(pairs ^ np.uint64(_signature(_pairs(word)))) <= _PAIRS_PER_EDIT * edits
        compared = [self._words[row] for row in is_near.nonzero()[0].tolist()]
        found = process.extract(word, compared, scorer=OSA.distance, score_cutoff=edits, limit=None)
        return [NearWord(near, int(distance)) for near, distance, _ in found]


def _signature(parts: Iterable[str]) -> int:
    signature = 0
    for part in parts:
        signature |= 1 << (sum(ord(letter) * (31**place) for place, letter in enumerate(part)) % _BITS)
    return signature


def _pairs(word: str) -> list[str]:
    return [first + second for first, second in pairwise(word)]

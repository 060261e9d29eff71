"""How many titles have a word, alone and together with another: of the release, and of the items added since."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from services.retrieval.catalogue.delta import Delta
from services.retrieval.catalogue.word_table import NearWord, WordTable
from services.retrieval.sources.bm25 import TitleBm25

_CACHED: int = 10_000


class ReleaseWords:
    """The words of a release's titles. Safe for threads.

    Args:
        titles: The postings of the titles.
    """

    def __init__(self, titles: TitleBm25) -> None:
        self.titles = titles
        self._table = WordTable(word for word in titles.word_rows if word.isalpha())
        # A release never changes, and many users make the same error.
        self.near = lru_cache(_CACHED)(self._table.near)
        self.together = lru_cache(_CACHED)(self._together)

    def __contains__(self, word: str) -> bool:
        return word in self.titles.word_rows or word in (self.titles.other_words or ())

    def count(self, word: str) -> int:
        """Return how many titles have a word."""
        return len(self.titles.items_with(word))

    def _together(self, word: str, other: str) -> int:
        first, second = self.titles.items_with(word), self.titles.items_with(other)
        return len(np.intersect1d(first, second, assume_unique=True))


@dataclass(frozen=True, eq=False)
class CatalogueWords:
    """The words of one state of the live catalogue.

    Attributes:
        release: Those of the release.
        delta: The items added since.
    """

    release: ReleaseWords
    delta: Delta

    def __contains__(self, word: str) -> bool:
        return word in self.release or word in self.delta.storage.words

    @property
    def titles(self) -> int:
        """The number of titles."""
        return self.release.titles.catalogue_items + len(self.delta)

    def near(self, word: str, edits: int) -> list[NearWord]:
        """Return the words of titles within a number of edits."""
        found = {near.word: near for near in self.release.near(word, edits)}
        found |= {near.word: near for near in self.delta.storage.title_words.near(word, edits)}
        return list(found.values())

    def count(self, word: str) -> int:
        """Return how many titles have a word."""
        return self.release.count(word) + len(self._added_with(word))

    def together(self, word: str, other: str) -> int:
        """Return how many titles have both words."""
        added = np.intersect1d(self._added_with(word), self._added_with(other), assume_unique=True)
        return self.release.together(word, other) + len(added)

    def _added_with(self, word: str) -> np.ndarray:
        return self.delta.storage.titles.with_word(word, len(self.delta))[0]

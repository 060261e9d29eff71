"""How many titles have a word, in any form, alone and together with another: of the release and of added items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from services.retrieval.catalogue.delta import Delta
from services.retrieval.catalogue.stemming import stem
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
        self._table = WordTable(word for word in sorted(titles.spellings) if word.isalpha())
        # A release never changes, and many users make the same error.
        self.near = lru_cache(_CACHED)(self._table.near)
        self.together = lru_cache(_CACHED)(self._together)

    def __contains__(self, word: str) -> bool:
        """Whether the release has a word, in this form or, in a title, in another."""
        titles = self.titles
        return word in titles.spellings or word in titles.other_words or stem(word) in titles.word_rows

    def count(self, word: str) -> int:
        """Return how many titles have a word."""
        return len(self.titles.items_with(stem(word)))

    def _together(self, word: str, other: str) -> int:
        first, second = self.titles.items_with(stem(word)), self.titles.items_with(stem(other))
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
        added = self.delta.storage
        return word in self.release or word in added.words or stem(word) in added.titles

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
        return self.delta.storage.titles.with_word(stem(word), len(self.delta))[0]

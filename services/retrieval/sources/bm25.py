"""BM25 over titles: the release's, scored when it was built, and those of items added since.

A word that an item has t times in a title of n words scores idf · t / (t + k1 · (1 - b + b · n / mean n)), as in
Lucene (Robertson and Zaragoza, "The Probabilistic Relevance Framework", https://doi.org/10.1561/1500000019).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Float32Array, RowIndices
from common.release.layout import TITLE_WORDS, title_words_file
from common.release.store import Release
from services.retrieval.catalogue.title_postings import TitlePostings


@dataclass(frozen=True, eq=False)
class TitleBm25:
    """The words of the release's titles.

    Attributes:
        rows: The row of each word.
        indptr: Where each word's entries begin; shape [words + 1].
        items: The items that have the word; shape [entries].
        scores: What it scores there; shape [entries].
        catalogue_items: How many items there are.
        k1: How soon repeating a word stops to matter.
        b: How much long titles weigh less, 0 to 1.
        mean_words: How many words a title has on average.
    """

    rows: Mapping[str, int]
    indptr: RowIndices
    items: RowIndices
    scores: Float32Array
    catalogue_items: int
    k1: float
    b: float
    mean_words: float

    @classmethod
    def load(cls, release: Release, items: int) -> TitleBm25:
        """Map a release's words; raises BadRelease where it has none."""
        told = json.loads(release.file(TITLE_WORDS).read_text())
        indptr, rows, scores = (
            np.asarray(np.load(release.file(title_words_file(part)), mmap_mode="r"))
            for part in ("indptr", "items", "scores")
        )
        known = {word: row for row, word in enumerate(told["words"])}
        return cls(known, indptr, rows, scores, items, told["k1"], told["b"], told["mean_words"])

    def of_release(self, asked: Sequence[str]) -> Float32Array:
        """Score the release's items for words; shape [items of the release]."""
        total = np.zeros(self.catalogue_items, dtype=np.float32)
        for word in asked:
            row = self.rows.get(word)
            if row is not None:
                begin, end = self.indptr[row : row + 2]
                total[self.items[begin:end]] += self.scores[begin:end]  # no item has a word twice
        return total

    def of_added(self, asked: Sequence[str], added: TitlePostings, count: int) -> Float32Array:
        """Score the first ``count`` added items for words, by what the release's titles say of these; shape [count]."""
        total = np.zeros(count, dtype=np.float32)
        for word in asked:
            numbers, times, lengths = added.with_word(word, count)
            worn = self.k1 * (1 - self.b + self.b * lengths / self.mean_words)
            total[numbers] += self._idf(word) * times / (times + worn)
        return total

    def _idf(self, word: str) -> float:
        row = self.rows.get(word)
        having = 0 if row is None else int(self.indptr[row + 1] - self.indptr[row])
        return math.log(1 + (self.catalogue_items - having + 0.5) / (having + 0.5))

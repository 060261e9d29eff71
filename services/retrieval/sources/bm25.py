"""BM25 over titles: those of the release, scored when it was built, and those of items added since.

A word that occurs t times in a title of n words scores idf · t / (t + k1 · (1 - b + b · n / mean n)), as in Lucene
(Robertson and Zaragoza, "The Probabilistic Relevance Framework", https://doi.org/10.1561/1500000019).

Written by hand because bm25s, which scores the release's titles when it is built, cannot add a document to an index: an
upsert would have to index every added title again (`docs/adr/0020-what-stays-hand-written.md`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Float32Array, RowIndices
from common.errors import BadRelease
from common.release.layout import TITLE_WORDS, TITLE_WORDS_VERSION, title_words_file
from common.release.store import Release
from common.text import query_words
from services.retrieval.catalogue.stemming import query_stems
from services.retrieval.catalogue.title_postings import TitlePostings

# Words of version 1, with which releases were built that have no version in the file.
_WORD_OF_VERSION_1: Final = re.compile(r"\w+")


@dataclass(frozen=True, eq=False)
class TitleBm25:
    """The postings of the release's titles, with their scores.

    Attributes:
        word_rows: The row of each word's stem.
        indptr: Where each word's postings begin; shape [words + 1].
        items: The items that have the word; shape [postings].
        scores: The word's score in each of them; shape [postings].
        catalogue_items: The number of items in the release.
        k1: BM25's saturation of repeated words.
        b: BM25's length normalisation, 0 to 1.
        mean_words: The mean number of words in a title.
        version: How the titles were split into words.
        spellings: The words of the titles as they are spelled; empty in releases of earlier versions.
        other_words: The other words of the items' texts.
    """

    word_rows: Mapping[str, int]
    indptr: RowIndices
    items: RowIndices
    scores: Float32Array
    catalogue_items: int
    k1: float
    b: float
    mean_words: float
    version: int = TITLE_WORDS_VERSION
    spellings: frozenset[str] = frozenset()
    other_words: frozenset[str] = frozenset()

    @classmethod
    def load(cls, release: Release, items: int) -> TitleBm25:
        """Map the postings of a release that has ``items`` items; raises BadRelease if it has none that can be read."""
        header = json.loads(release.file(TITLE_WORDS).read_text())
        version = header.get("version", 1)
        if version not in (1, 2, TITLE_WORDS_VERSION):
            raise BadRelease(
                f"{TITLE_WORDS} has version {version}, this server reads up to {TITLE_WORDS_VERSION}; build it again"
            )
        indptr, postings, scores = (
            np.asarray(np.load(release.file(title_words_file(part)), mmap_mode="r"))
            for part in ("indptr", "items", "scores")
        )
        word_rows = {word: row for row, word in enumerate(header["words"])}
        return cls(
            word_rows,
            indptr,
            postings,
            scores,
            items,
            header["k1"],
            header["b"],
            header["mean_words"],
            version,
            frozenset(header.get("spellings", ())),
            frozenset(header.get("other_words", ())),
        )

    def items_with(self, word: str) -> RowIndices:
        """Return the rows of the release's items whose titles have a word, given by its stem; a view."""
        row = self.word_rows.get(word)
        if row is None:
            return self.items[:0]
        return self.items[self.indptr[row] : self.indptr[row + 1]]

    def score_release_items(self, query: str) -> Float32Array:
        """Score the release's items; shape [items of the release]."""
        total = np.zeros(self.catalogue_items, dtype=np.float32)
        for word in self._words_of_release(query):
            row = self.word_rows.get(word)
            if row is not None:
                begin, end = self.indptr[row : row + 2]
                total[self.items[begin:end]] += self.scores[begin:end]  # no item has a word twice
        return total

    def score_added_items(self, query: str, postings: TitlePostings, count: int) -> Float32Array:
        """Score the first ``count`` added items; idf and mean length are the release's. Shape [count]."""
        total = np.zeros(count, dtype=np.float32)
        for word in dict.fromkeys(query_stems(query)):
            numbers, frequencies, lengths = postings.with_word(word, count)
            normalisation = self.k1 * (1 - self.b + self.b * lengths / self.mean_words)
            total[numbers] += self._idf(word) * frequencies / (frequencies + normalisation)
        return total

    def _words_of_release(self, query: str) -> Sequence[str]:
        match self.version:
            case 1:
                found = _WORD_OF_VERSION_1.findall(query.casefold())
            case 2:
                found = query_words(query)
            case _:
                found = query_stems(query)
        return list(dict.fromkeys(found))

    def _idf(self, word: str) -> float:
        document_frequency = len(self.items_with(word))
        return math.log(1 + (self.catalogue_items - document_frequency + 0.5) / (document_frequency + 0.5))

"""A part of the suggestions that never changes: the titles of some rows, and their categories.

::

    document   0 ───────────── rows ─────────────── documents
               │ one title a row   │ one category each    │

Each document is a set of words. The documents that have a word are its postings; words in the order of the vocabulary
that begin alike have adjacent postings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.text import title_words
from services.retrieval.suggestions.typed_text import TypedText, TypedWord
from services.retrieval.suggestions.vocabulary import Vocabulary

_NO_WORD: Final = -1


@dataclass(frozen=True, eq=False)
class Matches:
    """The documents that match a text.

    Attributes:
        documents: Their numbers; shape [n].
        corrected: How many of the typed words had to be corrected, the same for each.
        begins: Whether a document begins with the first typed word; shape [n].
    """

    documents: RowIndices
    corrected: int
    begins: BoolMask


class PopularityScale(NamedTuple):
    """The highest popularity of a title, and of a category, which is the sum of its items'."""

    title: float
    category: float


class Segment:
    """The titles of consecutive rows and the categories of these rows, by their words.

    Args:
        first_row: The first row.
        titles: The titles.
        categories: The rows' categories, empty where unknown.
        popularity: The rows' popularity, at least 0; shape [rows].
        scale: The highest popularity that there is; None for the highest of these rows.

    Attributes:
        popularity: The documents' popularity, 0 to 1 on a logarithmic scale; shape [documents].
        scale: What is 1 on it.
    """

    def __init__(
        self,
        first_row: int,
        titles: Sequence[str],
        categories: Sequence[str],
        popularity: Float32Array,
        scale: PopularityScale | None = None,
    ) -> None:
        self.first_row = first_row
        self.rows = len(titles)
        self.category_names = sorted(set(categories) - {""})
        codes = {name: code for code, name in enumerate(self.category_names)}
        self._category_of_row = np.array([codes.get(name, -1) for name in categories], dtype=np.int64)
        self._index([*titles, *self.category_names])
        known = self._category_of_row >= 0
        of_categories = np.bincount(
            self._category_of_row[known], popularity[known], minlength=len(self.category_names)
        ).astype(np.float32)
        self.scale = scale or PopularityScale(float(popularity.max(initial=0.0)), float(of_categories.max(initial=0.0)))
        self.popularity = np.concatenate(
            [_relative(popularity, self.scale.title), _relative(of_categories, self.scale.category)]
        )

    def allowed(self, rows: BoolMask) -> BoolMask:
        """Return which documents have an allowed row, given the rows of this segment that are; shape [documents]."""
        categories = self._category_of_row[rows & (self._category_of_row >= 0)]
        return np.concatenate([rows, np.bincount(categories, minlength=len(self.category_names)) > 0])

    def exact(self, typed: TypedText, allowed: BoolMask) -> Matches:
        """Return the allowed documents that have every typed word."""
        mask = allowed.copy()
        for word in typed.words:
            mask &= self._having(word)
        return self._matches(mask, typed.words[0], 0)

    def one_corrected(self, typed: TypedText, allowed: BoolMask) -> Matches:
        """Return the allowed documents that have every typed word but one, and a word within one edit of that one."""
        # Counts instead of a mask for each word: a text may have hundreds of words.
        found = np.zeros(len(allowed), dtype=np.uint16)
        for word in typed.words:
            found += self._having(word)
        lacks_one = allowed & (found == len(typed.words) - 1)
        corrected = np.zeros(len(allowed), dtype=np.bool_)
        if lacks_one.any():  # looking for near words takes longest
            for word in typed.words:
                lacking = lacks_one & ~self._having(word)
                if lacking.any():
                    corrected |= lacking & self._near(word)
        return self._matches(corrected, typed.words[0], 1)

    def all_corrected(self, typed: TypedText, allowed: BoolMask) -> Matches:
        """Return the allowed documents that have a word within one edit of each typed word."""
        mask = allowed.copy()
        for word in typed.words:
            mask &= self._near(word) | self._having(word)
            if not mask.any():
                break
        return self._matches(mask, typed.words[0], len(typed.words))

    def _index(self, texts: Sequence[str]) -> None:
        words_of = [title_words(text) for text in texts]
        vocabulary = sorted({word for words in words_of for word in words})
        ids = {word: number for number, word in enumerate(vocabulary)}
        distinct = [[ids[word] for word in dict.fromkeys(words)] for words in words_of]
        counts = np.fromiter(map(len, distinct), np.int64, len(distinct))
        word_of = np.array([word for words in distinct for word in words], dtype=np.int64)
        order = np.argsort(word_of, kind="stable")
        self._postings = np.repeat(np.arange(len(texts)), counts)[order]
        self._starts = np.searchsorted(word_of[order], np.arange(len(vocabulary) + 1))
        self._first_word = np.array([words[0] if words else _NO_WORD for words in distinct], dtype=np.int64)
        self._vocabulary = Vocabulary(vocabulary)
        self._documents = len(texts)

    def _having(self, word: TypedWord) -> BoolMask:
        """Return which documents have a typed word; shape [documents]."""
        words = self._vocabulary.find(word.text, is_prefix=word.is_prefix)
        mask = np.zeros(self._documents, dtype=np.bool_)
        mask[self._postings[self._starts[words.start] : self._starts[words.stop]]] = True
        return mask

    def _near(self, word: TypedWord) -> BoolMask:
        """Return which documents have a word within one edit of a typed one; shape [documents]."""
        words = self._vocabulary.near(word.text, is_prefix=word.is_prefix)
        counts = self._starts[words + 1] - self._starts[words]
        # The positions of all their postings, without a loop over what may be thousands of words.
        first = np.cumsum(counts) - counts
        positions = np.repeat(self._starts[words] - first, counts) + np.arange(counts.sum())
        mask = np.zeros(self._documents, dtype=np.bool_)
        mask[self._postings[positions]] = True
        return mask

    def _matches(self, mask: BoolMask, first: TypedWord, corrected: int) -> Matches:
        documents = np.flatnonzero(mask)
        words = self._vocabulary.find(first.text, is_prefix=first.is_prefix)
        begins = self._first_word[documents]
        return Matches(documents, corrected, (begins >= words.start) & (begins < words.stop))


def _relative(values: Float32Array, highest: float) -> Float32Array:
    if highest <= 0:
        return np.zeros(len(values), dtype=np.float32)
    relative: Float32Array = np.minimum(np.log1p(values) / np.log1p(highest), 1.0).astype(np.float32)
    return relative

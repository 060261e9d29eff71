"""Lexical features of one request: how well the query's words match the candidates' words.

Every word of the query is compared with every word of every candidate, exactly and by its letters, so that a typing
error ("sprinkelr") still finds its word. Words are weighted by inverse document frequency. BM25 as in Robertson and
Zaragoza (2009).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final

import numpy as np

from common.arrays import FloatArray, Int64Array, RowIndices
from services.ranking.features.word_index import WordIndex
from services.ranking.features.word_tokenizer import is_number, words_of

_MAX_QUERY_WORDS: Final = 24
_MIN_NEAR_SIMILARITY: Final = 0.6
_K1: Final = 1.2
_B: Final = 0.75


class LexicalFeatures:
    """Compares the query's words with the candidates' words.

    Args:
        query: The query.
        rows: The candidates' catalogue rows.
        index: The catalogue's words.

    Attributes:
        words: The query's first 24 words.
        subject: The index of the query word that names the thing, -1 for none.
        tokens: The candidates' words, by their ids.
        starts: The index in ``tokens`` at which each candidate begins.
        lengths: How many words each candidate has.
        heads: How many of them are in the candidate's head.
        subjects: The index among its words of the one that names the candidate, -1 for none.
    """

    def __init__(self, query: str, rows: RowIndices, index: WordIndex) -> None:
        words = words_of(query)
        self.words = words.all[:_MAX_QUERY_WORDS]
        self.subject = words.subject if words.subject < len(self.words) else -1
        self._index = index
        self.tokens = index.rows.take(rows)
        self.starts = self.tokens.offsets[:-1]
        self.lengths = self.tokens.lengths
        self.heads = np.asarray(index.heads[rows])
        self.subjects = np.asarray(index.subjects[rows])

    @cached_property
    def word_ids(self) -> Int64Array:
        """The ids of the query's words, -1 if no item has the word; shape [query words]."""
        return np.array([self._index.word_id(word) for word in self.words], np.int64)

    @cached_property
    def idf(self) -> FloatArray:
        """The query words' inverse document frequency; the maximum for words of no item; shape [query words]."""
        idf = self._index.idf
        return np.where(self.word_ids >= 0, idf[self.word_ids], idf.max())

    @cached_property
    def weights(self) -> FloatArray:
        """Each query word's share of the query's idf; shape [query words]."""
        return self.idf / max(float(self.idf.sum()), 1e-9)

    @cached_property
    def positions(self) -> FloatArray:
        """The relative position of each of the candidates' words in its text, in [0, 1); shape [words]."""
        return (np.arange(len(self.tokens.tokens)) - self._repeat(self.starts)) / self._repeat(self.lengths)

    @cached_property
    def similarity(self) -> FloatArray:
        """The similarity of each query word and each of the candidates' words; float32[query words, words]."""
        distinct, word_of = np.unique(self.tokens.tokens, return_inverse=True)
        return np.stack([self._index.similarities(word, distinct.astype(np.int64)) for word in self.words])[:, word_of]

    @cached_property
    def best(self) -> FloatArray:
        """Each query word's similarity to the nearest word of each candidate; float32[query words, candidates]."""
        return np.asarray(np.maximum.reduceat(self.similarity, self.starts, axis=1), np.float32)

    @cached_property
    def best_in_head(self) -> FloatArray:
        """The same within the candidates' heads."""
        in_head = np.arange(len(self.positions)) - self._repeat(self.starts) < self._repeat(self.heads)
        return np.asarray(np.maximum.reduceat(np.where(in_head, self.similarity, 0), self.starts, axis=1), np.float32)

    @cached_property
    def first_position(self) -> FloatArray:
        """The first position of the nearest word, NaN if no word is similar; [query words, candidates]."""
        nearest = (self.similarity > 0) & (self.similarity >= self.best[:, self._candidate_of])
        first = np.minimum.reduceat(np.where(nearest, self.positions, np.inf), self.starts, axis=1)
        return np.where(np.isfinite(first), first, np.nan)

    @cached_property
    def best_query_word(self) -> FloatArray:
        """The similarity of each of the candidates' words to the nearest query word; float32[words]."""
        return np.asarray(self.similarity.max(axis=0), np.float32)

    @cached_property
    def subject_similarity(self) -> FloatArray:
        """Each query word's similarity to the candidate's subject, NaN without one; [query words, candidates]."""
        named = self.similarity[:, self.starts + np.maximum(self.subjects, 0)]
        return np.where(self.subjects >= 0, named, np.nan)

    def sum(self, values: FloatArray) -> FloatArray:
        """Sum values of the candidates' words by candidate."""
        return np.asarray(np.add.reduceat(values, self.starts), np.float32)

    def _repeat(self, values: Int64Array) -> Int64Array:
        return values[self._candidate_of]

    @cached_property
    def _candidate_of(self) -> Int64Array:
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def bm25(self) -> FloatArray:
        """BM25 of the candidates for the query, by exact words."""
        count = np.stack([self.sum((self.tokens.tokens == word_id).astype(np.float32)) for word_id in self.word_ids])
        norm = _K1 * (1 - _B + _B * self.lengths / self._index.mean_words)
        return np.asarray(self.idf @ (count * (_K1 + 1) / (count + norm)))

    @cached_property
    def order(self) -> FloatArray:
        """The share of the query's word pairs that are also next to each other in the candidate; NaN for one word."""
        if len(self.words) < 2:  # noqa: PLR2004 - a pair of words
            return np.full(len(self.lengths), np.nan)
        near = self.similarity >= _MIN_NEAR_SIMILARITY
        adjacent = near[:-1, :-1] & near[1:, 1:] & (self._candidate_of[:-1] == self._candidate_of[1:])
        padded = np.pad(adjacent, ((0, 0), (0, 1)))
        return np.asarray(np.logical_or.reduceat(padded, self.starts, axis=1).mean(axis=0), np.float32)

    @cached_property
    def numbers_found(self) -> FloatArray:
        """The share of the query's numbers that the candidate has; NaN for a query without numbers."""
        numbers = [index for index, word in enumerate(self.words) if is_number(word)]
        return self.best[numbers].mean(axis=0) if numbers else np.full(len(self.lengths), np.nan)

    @cached_property
    def first_word_share(self) -> FloatArray:
        """The share of each query word's items that begin with it, which is high for brands; shape [query words]."""
        return np.where(self.word_ids >= 0, self._index.first_word_share[self.word_ids], 0)

    @cached_property
    def item_idf(self) -> FloatArray:
        """The inverse document frequency of the candidates' words; shape [words]."""
        return np.asarray(self._index.idf[self.tokens.tokens])


def _mean_position(match: LexicalFeatures) -> FloatArray:
    weights = np.where(np.isnan(match.first_position), 0, match.weights[:, None])
    total = weights.sum(axis=0)
    return np.asarray(np.nansum(match.first_position * weights, axis=0) / np.where(total > 0, total, np.nan))


def _nan(match: LexicalFeatures) -> FloatArray:
    return np.full(len(match.lengths), np.nan)


FEATURES: Final[Mapping[str, Callable[[LexicalFeatures], FloatArray]]] = {
    "words": lambda m: np.full(len(m.lengths), len(m.words)),
    "rarity": lambda m: np.full(len(m.lengths), m.idf.sum()),
    "rarest": lambda m: np.full(len(m.lengths), m.idf.max()),
    "unknown": lambda m: np.full(len(m.lengths), m.weights[m.word_ids < 0].sum()),
    "exact": lambda m: m.weights @ (m.best >= 1),
    "near": lambda m: m.weights @ m.best,
    "near_count": lambda m: m.best.mean(axis=0),
    "missed": lambda m: (m.idf[:, None] * (1 - m.best)).max(axis=0),
    "head": lambda m: m.weights @ m.best_in_head,
    "subject": lambda m: m.best[m.subject] if m.subject >= 0 else _nan(m),
    "subject_head": lambda m: m.best_in_head[m.subject] if m.subject >= 0 else _nan(m),
    "subject_place": lambda m: m.first_position[m.subject] if m.subject >= 0 else _nan(m),
    "item_subject": lambda m: m.subject_similarity.max(axis=0),
    "subjects": lambda m: m.subject_similarity[m.subject] if m.subject >= 0 else _nan(m),
    "first": lambda m: m.best[0],
    "last": lambda m: m.best[-1],
    "opening": lambda m: m.best_query_word[m.starts],
    "brand_missed": lambda m: ((m.first_word_share * m.idf)[:, None] * (1 - m.best)).max(axis=0),
    "numbers": lambda m: m.numbers_found,
    "order": lambda m: m.order,
    "place": _mean_position,
    "item_words": lambda m: m.lengths.astype(np.float32),
    "item_share": lambda m: m.sum(m.item_idf * m.best_query_word) / m.sum(m.item_idf),
    "bm25": lambda m: m.bm25,
    "bm25_relative": lambda m: m.bm25 / max(float(m.bm25.max()), 1e-9),
}

"""What the words of a query and of the candidates have in common: the lexical features of one request.

Every word of the query is held against every word of every candidate, exactly and by its letters, so that a typing
error ("sprinkelr") still finds its word. Words weigh by their rarity. BM25 as in Robertson and Zaragoza (2009).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final

import numpy as np

from common.arrays import FloatArray, Int64Array, RowIndices
from services.ranking.features.word_index import WordIndex
from services.ranking.features.word_tokenizer import is_number, words_of

_LONGEST_QUERY: Final = 24


_NEAR: Final = 0.6


_K1: Final = 1.2


_B: Final = 0.75


class LexicalFeatures:
    """The query's words against the candidates'.

    Args:
        query: What was searched for.
        rows: The candidates' catalogue rows.
        lexicon: The catalogue's words.

    Attributes:
        words: The query's words, its first 24.
        subject: The place of the word that names what is searched for, -1 for none.
        tokens: The candidates' words, as numbers of the lexicon.
        starts: Where in them each candidate begins.
        lengths: How many words each candidate has.
        heads: How many of them say what it is.
        subjects: Where among its words the one stands that names it, -1 for none.
    """

    def __init__(self, query: str, rows: RowIndices, lexicon: WordIndex) -> None:
        said = words_of(query)
        self.words = said.all[:_LONGEST_QUERY]
        self.subject = said.subject if said.subject < len(self.words) else -1
        self._lexicon = lexicon
        self.tokens = lexicon.rows.take(rows)
        self.starts = self.tokens.offsets[:-1]
        self.lengths = self.tokens.lengths
        self.heads = np.asarray(lexicon.heads[rows])
        self.subjects = np.asarray(lexicon.subjects[rows])

    @cached_property
    def numbers(self) -> Int64Array:
        """The query's words in the lexicon, -1 where it has them not; shape [query words]."""
        return np.array([self._lexicon.number(word) for word in self.words], np.int64)

    @cached_property
    def rarity(self) -> FloatArray:
        """The rarity of the query's words; a word that no item has is as rare as can be; shape [query words]."""
        rarity = self._lexicon.rarity
        return np.where(self.numbers >= 0, rarity[self.numbers], rarity.max())

    @cached_property
    def weights(self) -> FloatArray:
        """The query's words by their share of its rarity; shape [query words]."""
        return self.rarity / max(float(self.rarity.sum()), 1e-9)

    @cached_property
    def place(self) -> FloatArray:
        """Where each of the candidates' words stands in its text, from 0 to below 1; shape [words]."""
        return (np.arange(len(self.tokens.tokens)) - self._repeat(self.starts)) / self._repeat(self.lengths)

    @cached_property
    def like(self) -> FloatArray:
        """How alike each query word and each of the candidates' words are; float32[query words, words]."""
        distinct, word_of = np.unique(self.tokens.tokens, return_inverse=True)
        return np.stack([self._lexicon.alike(word, distinct.astype(np.int64)) for word in self.words])[:, word_of]

    @cached_property
    def best(self) -> FloatArray:
        """How alike each query word is to the nearest word of each candidate; float32[query words, candidates]."""
        return np.asarray(np.maximum.reduceat(self.like, self.starts, axis=1), np.float32)

    @cached_property
    def best_in_head(self) -> FloatArray:
        """The same with the head of each candidate alone."""
        within = np.arange(len(self.place)) - self._repeat(self.starts) < self._repeat(self.heads)
        return np.asarray(np.maximum.reduceat(np.where(within, self.like, 0), self.starts, axis=1), np.float32)

    @cached_property
    def first_place(self) -> FloatArray:
        """Where the nearest word of each candidate stands first, NaN where none is near; [query words, candidates]."""
        nearest = (self.like > 0) & (self.like >= self.best[:, self._owner])
        found = np.minimum.reduceat(np.where(nearest, self.place, np.inf), self.starts, axis=1)
        return np.where(np.isfinite(found), found, np.nan)

    @cached_property
    def heard(self) -> FloatArray:
        """How alike each of the candidates' words is to the nearest query word; float32[words]."""
        return np.asarray(self.like.max(axis=0), np.float32)

    @cached_property
    def of_subject(self) -> FloatArray:
        """How alike each query word is to the word that names the candidate, NaN without; [query words, candidates]."""
        named = self.like[:, self.starts + np.maximum(self.subjects, 0)]
        return np.where(self.subjects >= 0, named, np.nan)

    def sum(self, values: FloatArray) -> FloatArray:
        """Sum values of the candidates' words by candidate."""
        return np.asarray(np.add.reduceat(values, self.starts), np.float32)

    def _repeat(self, values: Int64Array) -> Int64Array:
        return values[self._owner]

    @cached_property
    def _owner(self) -> Int64Array:
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def bm25(self) -> FloatArray:
        """BM25 of the candidates for the query, by exact words."""
        count = np.stack([self.sum((self.tokens.tokens == number).astype(np.float32)) for number in self.numbers])
        norm = _K1 * (1 - _B + _B * self.lengths / self._lexicon.mean_words)
        return np.asarray(self.rarity @ (count * (_K1 + 1) / (count + norm)))

    @cached_property
    def order(self) -> FloatArray:
        """The share of the query's neighbouring words that are neighbours in the candidate; NaN for one word."""
        if len(self.words) < 2:  # noqa: PLR2004 - neighbours are two
            return np.full(len(self.lengths), np.nan)
        near = self.like >= _NEAR
        beside = near[:-1, :-1] & near[1:, 1:] & (self._owner[:-1] == self._owner[1:])
        padded = np.pad(beside, ((0, 0), (0, 1)))
        return np.asarray(np.logical_or.reduceat(padded, self.starts, axis=1).mean(axis=0), np.float32)

    @cached_property
    def numbers_found(self) -> FloatArray:
        """The share of the query's numbers that the candidate has; NaN for a query without."""
        of_number = [place for place, word in enumerate(self.words) if is_number(word)]
        return self.best[of_number].mean(axis=0) if of_number else np.full(len(self.lengths), np.nan)

    @cached_property
    def openings(self) -> FloatArray:
        """How far each query word is a brand: the share of its items that begin with it; shape [query words]."""
        return np.where(self.numbers >= 0, self._lexicon.opening[self.numbers], 0)

    @cached_property
    def item_rarity(self) -> FloatArray:
        """Rarity of the candidates' words; shape [words]."""
        return np.asarray(self._lexicon.rarity[self.tokens.tokens])


def _mean_place(match: LexicalFeatures) -> FloatArray:
    weights = np.where(np.isnan(match.first_place), 0, match.weights[:, None])
    total = weights.sum(axis=0)
    return np.asarray(np.nansum(match.first_place * weights, axis=0) / np.where(total > 0, total, np.nan))


def _nan(match: LexicalFeatures) -> FloatArray:
    return np.full(len(match.lengths), np.nan)


FEATURES: Final[Mapping[str, Callable[[LexicalFeatures], FloatArray]]] = {
    "words": lambda m: np.full(len(m.lengths), len(m.words)),
    "rarity": lambda m: np.full(len(m.lengths), m.rarity.sum()),
    "rarest": lambda m: np.full(len(m.lengths), m.rarity.max()),
    "unknown": lambda m: np.full(len(m.lengths), m.weights[m.numbers < 0].sum()),
    "exact": lambda m: m.weights @ (m.best >= 1),
    "near": lambda m: m.weights @ m.best,
    "near_count": lambda m: m.best.mean(axis=0),
    "missed": lambda m: (m.rarity[:, None] * (1 - m.best)).max(axis=0),
    "head": lambda m: m.weights @ m.best_in_head,
    "subject": lambda m: m.best[m.subject] if m.subject >= 0 else _nan(m),
    "subject_head": lambda m: m.best_in_head[m.subject] if m.subject >= 0 else _nan(m),
    "subject_place": lambda m: m.first_place[m.subject] if m.subject >= 0 else _nan(m),
    "item_subject": lambda m: m.of_subject.max(axis=0),
    "subjects": lambda m: m.of_subject[m.subject] if m.subject >= 0 else _nan(m),
    "first": lambda m: m.best[0],
    "last": lambda m: m.best[-1],
    "opening": lambda m: m.heard[m.starts],
    "brand_missed": lambda m: ((m.openings * m.rarity)[:, None] * (1 - m.best)).max(axis=0),
    "numbers": lambda m: m.numbers_found,
    "order": lambda m: m.order,
    "place": _mean_place,
    "item_words": lambda m: m.lengths.astype(np.float32),
    "item_share": lambda m: m.sum(m.item_rarity * m.heard) / m.sum(m.item_rarity),
    "bm25": lambda m: m.bm25,
    "bm25_relative": lambda m: m.bm25 / max(float(m.bm25.max()), 1e-9),
}

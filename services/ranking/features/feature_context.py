"""A user and the candidates side by side: what several features have in common, computed once for a request.

``age`` counts the events after an event: 0 for the most recent. Weights halve every so many events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import FloatArray, RowIndices
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.lexical_features import LexicalFeatures
from services.ranking.request import CandidateRows, UserRows

# How many of the most recent events, and of their distinct texts, the features read: bounds the cost of a request.
HISTORY_EVENTS: Final = 1_000


_SIMILARITY_EVENTS: Final = 60


@dataclass(frozen=True)
class HalfLives:
    """After how many events an event counts half.

    Attributes:
        long: For habits.
        short: For what the user is about now.
    """

    long: float = 150.0
    short: float = 25.0


@dataclass(frozen=True)
class HistoryCounts:
    """How a group of items (or one item) occurs in a history, for each candidate's group.

    Attributes:
        count: Events of the group; shape [candidates].
        weight: Those events' long weights, summed.
        short_weight: Their short weights, summed.
        last_age: Age of the most recent, NaN where there is none.
        first_age: Age of the oldest, likewise.
    """

    count: FloatArray
    weight: FloatArray
    short_weight: FloatArray
    last_age: FloatArray
    first_age: FloatArray


class FeatureContext:
    """One request as the features see it."""

    def __init__(
        self,
        user: UserRows,
        candidates: CandidateRows,
        logits: FloatArray | None,
        facts: ItemTables,
        lives: HalfLives,
    ) -> None:
        self.user = user
        self.candidates = candidates
        self.logits = logits
        self.facts = facts
        self.history = user.history[-HISTORY_EVENTS:]
        self.known = candidates.rows >= 0
        self.rows = np.where(self.known, candidates.rows, 0)
        self.age = np.arange(len(self.history) - 1, -1, -1, dtype=np.float64)
        self.long = 0.5 ** (self.age / lives.long)
        self.short = 0.5 ** (self.age / lives.short)

    def everywhere(self, value: float) -> FloatArray:
        """Return the same value for every candidate."""
        return np.full(len(self.candidates), value, dtype=np.float32)

    def of_item(self, values: FloatArray) -> FloatArray:
        """Return each candidate's value of an array by catalogue row; NaN for candidates without a row."""
        return np.where(self.known, values[self.rows], np.nan)

    @cached_property
    def item(self) -> HistoryCounts:
        """How the candidates themselves occur in the history."""
        return self._seen(self.history, self.rows)

    @cached_property
    def _by_column(self) -> dict[str, HistoryCounts]:
        return {}

    def column(self, name: str) -> HistoryCounts:
        """How the candidates' values of a catalogue column occur in the history; NaN where the value is missing."""
        if name not in self._by_column:
            codes = self.facts.codes(name)
            self._by_column[name] = self._seen(codes[self.history], np.where(self.known, codes[self.rows], -1))
        return self._by_column[name]

    @cached_property
    def interest(self) -> tuple[RowIndices, dict[str, npt.NDArray[np.float32]]]:
        """The distinct items of the history, and their shares by weight: `long`, `short` and `last`."""
        items, item_of = np.unique(self.history, return_inverse=True)
        shares = {}
        for name, weights in (("long", self.long), ("short", self.short), ("last", self.age == 0)):
            total = np.bincount(item_of, weights, len(items))
            shares[name] = (total / max(total.sum(), 1e-9)).astype(np.float32)
        return items, shares

    def graph(self, name: str, weights: str) -> FloatArray:
        """What an item graph says the user goes on to; NaN without a history."""
        if not len(self.history):
            return self.everywhere(np.nan)
        if name not in self._spread:
            items, shares = self.interest
            sums = self.facts.graph(name).weighted_sums(items, np.stack(list(shares.values())))
            self._spread[name] = dict(zip(shares, sums, strict=True))
        return self.of_item(self._spread[name][weights])

    @cached_property
    def _spread(self) -> dict[str, dict[str, FloatArray]]:
        return {}

    def lexical(self, feature: Callable[[LexicalFeatures], FloatArray]) -> FloatArray:
        """Compute a lexical feature; NaN for a query without words, and for candidates without a row."""
        if not self._match.words:
            return self.everywhere(np.nan)
        return np.where(self.known, feature(self._match), np.nan)

    @cached_property
    def _match(self) -> LexicalFeatures:
        return LexicalFeatures(self.user.query, self.rows, self.facts.lexicon())

    @cached_property
    def cosines(self) -> FloatArray:
        """Cosines of the candidates and the distinct texts of the recent history, the most recent last.

        NaN between an item and its own text: that the user knows it is told by other features.
        """
        vectors = self.facts.vectors()
        texts = vectors.of_item[self.history[-_SIMILARITY_EVENTS:]][::-1]
        _, first = np.unique(texts, return_index=True)
        texts = texts[np.sort(first)][::-1]
        own = vectors.of_item[self.rows]
        cosines = vectors.vectors[own] @ vectors.vectors[texts].T
        return np.where((own[:, None] == texts) | ~self.known[:, None], np.nan, cosines)

    def _seen(self, history: RowIndices, wanted: RowIndices) -> HistoryCounts:
        """Count each of ``wanted`` in ``history``; -1 in either is a missing value."""
        groups, group_of = np.unique(wanted, return_inverse=True)
        place = np.minimum(np.searchsorted(groups, history), len(groups) - 1)
        found = (groups[place] == history) & (history >= 0)
        place, age = place[found], self.age[found]
        last, first = np.full(len(groups), np.inf), np.full(len(groups), -np.inf)
        np.minimum.at(last, place, age)
        np.maximum.at(first, place, age)
        sums = [np.bincount(place, weights, len(groups)) for weights in (None, self.long[found], self.short[found])]
        missing = (wanted < 0) | ~self.known
        columns = [np.where(missing, np.nan, values[group_of]) for values in (*sums, last, first)]
        count, long, short, last, first = (column.astype(np.float32) for column in columns)
        return HistoryCounts(count, long, short, _finite(last), _finite(first))


def _finite(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, np.nan)

"""A request as the features see it: computes values that several features share once for a request.

An event counts what its kind counts: 1 for one of the target, less for views and the like. The age of an event is what
the events after it count together, which is their number if all are of the target. An event's weight is what it counts,
and falls with its age.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import FloatArray, RowIndices
from common.release.event_weights import EQUAL_WEIGHTS
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.lexical_features import LexicalFeatures
from services.ranking.request import CandidateRows, UserRows

# The most recent events that the features read, and those compared by text: both bound the cost of a request.
MAX_EVENTS: Final = 1_000
_MAX_SIMILARITY_EVENTS: Final = 60
_DAY_S: Final = 86_400


@dataclass(frozen=True)
class HalfLives:
    """The numbers of events after which the weight of an event is half.

    Attributes:
        long: For habits.
        short: For current interests.
    """

    long: float = 150.0
    short: float = 25.0


@dataclass(frozen=True)
class HistoryCounts:
    """How often each candidate's group of items (or the candidate itself) occurs in a history.

    Weights are of all events. Count and ages are of the target's events alone: a view is no purchase.

    Attributes:
        count: Number of the group's events; shape [candidates].
        weight: Sum of the events' long weights.
        short_weight: Sum of their short weights.
        last_age: Age of the most recent event, NaN if there is none.
        first_age: Age of the oldest event, NaN if there is none.
        last_days: Days since the most recent event with a known time, NaN if there is none.
        first_days: Days since the oldest one.
    """

    count: FloatArray
    weight: FloatArray
    short_weight: FloatArray
    last_age: FloatArray
    first_age: FloatArray
    last_days: FloatArray
    first_days: FloatArray


@dataclass(frozen=True)
class Interest:
    """The events of each candidate that are not of the target: it was viewed or put into the cart.

    Attributes:
        strongest: What the strongest of the events counts, 0 without one; shape [candidates].
        weight: Sum of their short weights.
        last_age: Age of the most recent one, NaN if there is none.
    """

    strongest: FloatArray
    weight: FloatArray
    last_age: FloatArray


class FeatureContext:
    """One request.

    Args:
        user: The user.
        candidates: The candidates.
        logits: The cross-encoder's logits, None before it has read.
        tables: The release's data of its items.
        half_lives: How fast events age.

    Attributes:
        history: The most recent events, as catalogue rows; shape [events].
        known: Whether each candidate has a catalogue row; shape [candidates].
        rows: Each candidate's catalogue row, 0 if it has none; shape [candidates].
        is_target: Whether each event is of the target; shape [events].
        targets: Number of the target's events.
        total: What the events count together.
        age: Each event's age; shape [events].
        days: Days from each event to the request, NaN if unknown; shape [events].
        long_weights: Each event's weight by the long half-life; shape [events].
        short_weights: Each event's weight by the short half-life; shape [events].
    """

    def __init__(
        self,
        user: UserRows,
        candidates: CandidateRows,
        logits: FloatArray | None,
        tables: ItemTables,
        half_lives: HalfLives,
    ) -> None:
        self.user = user
        self.candidates = candidates
        self.logits = logits
        self.tables = tables
        self.history = user.history[-MAX_EVENTS:]
        self.known = candidates.rows >= 0
        self.rows = np.where(self.known, candidates.rows, 0)
        events = user.events or EQUAL_WEIGHTS.weigh((), len(user.history))
        counted = events.weights[-MAX_EVENTS:].astype(np.float64)
        self.is_target = events.targets[-MAX_EVENTS:]
        self.targets = int(self.is_target.sum())
        self.total = float(counted.sum())
        self.age = np.cumsum(counted[::-1])[::-1] - counted
        self.long_weights = counted * 0.5 ** (self.age / half_lives.long)
        self.short_weights = counted * 0.5 ** (self.age / half_lives.short)
        self._counted = counted
        unknown = np.full(len(self.history), np.nan)
        self.days = unknown if user.ages_s is None else user.ages_s[-MAX_EVENTS:].astype(np.float64) / _DAY_S

    def constant(self, value: float) -> FloatArray:
        """Return the same value for every candidate."""
        return np.full(len(self.candidates), value, dtype=np.float32)

    def item_values(self, values: FloatArray) -> FloatArray:
        """Look up each candidate in an array by catalogue row; NaN for candidates without a row."""
        return np.where(self.known, values[self.rows], np.nan)

    @cached_property
    def item_counts(self) -> HistoryCounts:
        """How often the candidates themselves occur in the history."""
        return self._count(self.history, self.rows)

    @cached_property
    def interest(self) -> Interest:
        """The candidates' events that are not of the target."""
        groups, group_of = np.unique(self.rows, return_inverse=True)
        group = np.minimum(np.searchsorted(groups, self.history), len(groups) - 1)
        found = (groups[group] == self.history) & ~self.is_target
        group = group[found]
        strongest, last = np.zeros(len(groups)), np.full(len(groups), np.inf)
        np.maximum.at(strongest, group, self._counted[found])
        np.minimum.at(last, group, self.age[found])
        weight: FloatArray = np.bincount(group, self.short_weights[found], len(groups)).astype(np.float64)
        of_groups: tuple[FloatArray, ...] = (strongest, weight, _finite(last))
        return Interest(*(self._of_candidates(values[group_of]) for values in of_groups))

    @cached_property
    def _by_column(self) -> dict[str, HistoryCounts]:
        return {}

    def column_counts(self, name: str) -> HistoryCounts:
        """Count the events with each candidate's value of a catalogue column; NaN if the value is missing."""
        if name not in self._by_column:
            codes = self.tables.codes(name)
            self._by_column[name] = self._count(codes[self.history], np.where(self.known, codes[self.rows], -1))
        return self._by_column[name]

    @cached_property
    def price_level(self) -> FloatArray:
        """The candidates' log prices, less the user's usual one; NaN if either is unknown; shape [candidates]."""
        known = ~np.isnan(self._log_prices)
        total = float(self.long_weights[known].sum())
        usual = float(self.long_weights[known] @ self._log_prices[known]) / total if total > 0 else np.nan
        return self.item_values(self.tables.log_prices()) - usual

    def price_level_in(self, name: str) -> FloatArray:
        """Return the same against the history's items with each candidate's value of a catalogue column."""
        codes = self.tables.codes(name)
        groups, group_of = np.unique(np.where(self.known, codes[self.rows], -1), return_inverse=True)
        of_history = codes[self.history]
        group = np.minimum(np.searchsorted(groups, of_history), len(groups) - 1)
        found = (groups[group] == of_history) & (of_history >= 0) & ~np.isnan(self._log_prices)
        weights, prices = self.long_weights[found], self._log_prices[found]
        total = np.bincount(group[found], weights, len(groups))
        usual = np.bincount(group[found], weights * prices, len(groups)) / np.where(total > 0, total, np.nan)
        return self.item_values(self.tables.log_prices()) - usual[group_of]

    @cached_property
    def _log_prices(self) -> FloatArray:
        return self.tables.log_prices()[self.history]

    @cached_property
    def history_shares(self) -> tuple[RowIndices, dict[str, npt.NDArray[np.float32]]]:
        """The distinct items of the history, and their shares by `long` and `short` weight and of the `last` event."""
        items, item_of = np.unique(self.history, return_inverse=True)
        shares = {}
        for name, weights in (("long", self.long_weights), ("short", self.short_weights), ("last", self.age == 0)):
            total = np.bincount(item_of, weights, len(items))
            shares[name] = (total / max(total.sum(), 1e-9)).astype(np.float32)
        return items, shares

    def graph_scores(self, name: str, weights: str) -> FloatArray:
        """Spread the history's shares over an item graph and look up the candidates; NaN without a history."""
        if not len(self.history):
            return self.constant(np.nan)
        if name not in self._spread:
            items, shares = self.history_shares
            sums = self.tables.graph(name).weighted_sums(items, np.stack(list(shares.values())))
            self._spread[name] = dict(zip(shares, sums, strict=True))
        return self.item_values(self._spread[name][weights])

    @cached_property
    def _spread(self) -> dict[str, dict[str, FloatArray]]:
        return {}

    def lexical(self, feature: Callable[[LexicalFeatures], FloatArray]) -> FloatArray:
        """Compute a lexical feature; NaN for a query without words, and for candidates without a row."""
        if not self._lexical.words:
            return self.constant(np.nan)
        return np.where(self.known, feature(self._lexical), np.nan)

    @cached_property
    def _lexical(self) -> LexicalFeatures:
        return LexicalFeatures(self.user.query, self.rows, self.tables.word_index())

    @cached_property
    def cosines(self) -> FloatArray:
        """Cosines of the candidates and the distinct texts of the recent history, the most recent last.

        NaN between an item and its own text: other features cover that the user already has the item.
        """
        if not len(self.history):
            return np.empty((len(self.candidates), 0), dtype=np.float32)
        embeddings = self.tables.embeddings()
        texts = embeddings.text_of_item[self.history[-_MAX_SIMILARITY_EVENTS:]][::-1]
        _, first = np.unique(texts, return_index=True)
        texts = texts[np.sort(first)][::-1]
        own = embeddings.text_of_item[self.rows]
        cosines = embeddings.vectors[own] @ embeddings.vectors[texts].T
        return np.where((own[:, None] == texts) | ~self.known[:, None], np.nan, cosines)

    @cached_property
    def known_cosines(self) -> tuple[RowIndices, FloatArray]:
        """The indices of candidates with a cosine, and their rows of `cosines`."""
        candidates = np.flatnonzero(~np.isnan(self.cosines).all(axis=1))
        return candidates, self.cosines[candidates]

    def _of_candidates(self, values: FloatArray) -> FloatArray:
        return np.where(self.known, values, np.nan).astype(np.float32)

    def _count(self, history: RowIndices, candidates: RowIndices) -> HistoryCounts:
        """Count each candidate's value in the history's values; -1 in either is a missing value."""
        missing = (candidates < 0) | ~self.known
        unknown = self.constant(np.nan)
        if not len(history):
            zero = np.where(missing, unknown, np.float32(0))
            return HistoryCounts(zero, zero, zero, unknown, unknown, unknown, unknown)
        groups, group_of = np.unique(candidates, return_inverse=True)
        group = np.minimum(np.searchsorted(groups, history), len(groups) - 1)
        found = ((groups[group] == history) & (history >= 0)).nonzero()[0]
        counts = found[self.is_target[found]]
        bounds = []
        for values in (self.age, self.days)[: 1 if self.user.ages_s is None else 2]:
            last, first = np.full(len(groups), np.inf), np.full(len(groups), -np.inf)
            np.fmin.at(last, group[counts], values[counts])
            np.fmax.at(first, group[counts], values[counts])
            bounds += [_finite(last), _finite(first)]
        sums = [
            np.bincount(group[counts], None, len(groups)),
            *(
                np.bincount(group[found], values[found], len(groups))
                for values in (self.long_weights, self.short_weights)
            ),
        ]
        columns = np.stack([*sums, *bounds])[:, group_of].astype(np.float32)
        columns[:, missing] = np.nan
        return HistoryCounts(*columns, *[unknown] * (7 - len(columns)))


def _finite(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, np.nan)

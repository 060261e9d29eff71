"""The features of a user and a candidate that the fusion reads, in the release's order.

A missing feature is NaN, never zero. Serving and training both use this module. The names::

    history_events, history_items, has_query          the user: purchases (events of the target), distinct items, 1
                                                      with a query
    variety                                           distinct items as a share of the events
    repeat_count, repeat_share                        the candidate in the history: purchases, share of all purchases
    last_age, first_age, mean_gap, due                events since its last and first purchase, between two, last_age /
                                                      mean_gap; events count as their kind does
    last_share                                        last_age as a share of all events
    decayed_long, decayed_short                       its events, weighted by kind and age
    interest_events, interest_strongest,              events that are no purchase: of the user; of the candidate, what
    interest_weight, interest_last_age                the strongest counts, weighted by kind and age, age of the last
    price, price_level, COLUMN_price_level            log(1 + price); less the weighted mean of the history's, or of its
                                                      items with the candidate's value of the column
    last_days, due_days, COLUMN_last_days, idle_days  days since the candidate's last purchase, their ratio to the mean
                                                      days between two; since the last one with the candidate's value of
                                                      the column; since the user's last event
    popularity, popularity_rank                       log(1 + popularity), share of the items that are more popular
    COLUMN_affinity, COLUMN_count, COLUMN_last_age    the candidate's category, brand or other text column in the
    COLUMN_loyalty, COLUMN_due                        history: weighted share, events, age of the last; the candidate's
                                                      share of them; age of the last / the mean distance between
    query_NAME                                        matches of the query's words and the candidate's; the names are
                                                      listed in `lexical_features.FEATURES`
    item_NAME                                         an item statistic of the release
    graph_NAME_long, graph_NAME_short, graph_NAME_last  an item graph's scores of what follows the history
    similarity_max, similarity_mean, similarity_last  cosines with the history's texts, except its own
    fused, fused_rank                                 the first stage's score, and its rank from 0
    source_NAME, relative_NAME, deviation_NAME        a source's score, its share of the request's best, its distance
                                                      from the request's mean
    logit, logit_rank, logit_deviation                the cross-encoder's; rank, distance from the request's mean
    late_score, late_rank, late_deviation             late interaction's score; rank, distance from the request's mean
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from common.arrays import FloatArray
from common.errors import BadRelease
from services.ranking.features.feature_context import FeatureContext, HalfLives, HistoryCounts
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.lexical_features import FEATURES as LEXICAL
from services.ranking.request import CandidateRows, UserRows

Column = Callable[[FeatureContext], FloatArray]


class FeatureSet:
    """The features of one release, in its order.

    Args:
        names: The features, in the order of the matrix' columns.
        tables: The release's data of its items.
        half_lives: How fast events age.

    Attributes:
        names: The features' names.
        sources: The candidate sources whose scores are read.

    Raises:
        BadRelease: A name is unknown, or the release lacks what it is computed from.
    """

    def __init__(self, names: Sequence[str], tables: ItemTables, half_lives: HalfLives = HalfLives()) -> None:  # noqa: B008 - frozen
        self.names = tuple(names)
        self._tables = tables
        self._half_lives = half_lives
        self._columns = [_column(name, tables) for name in names]
        self.sources = frozenset(found[2] for name in names if (found := _SOURCE.fullmatch(name)))
        self._logit_columns = [column for column, name in enumerate(names) if name in _LOGIT]
        self._late_columns = [column for column, name in enumerate(names) if name in _LATE]
        self.matrix(_ANY_USER, CandidateRows.from_rows(np.zeros(1, np.int64)))  # loads the tables

    def matrix(self, user: UserRows, candidates: CandidateRows, logits: FloatArray | None = None) -> FloatArray:
        """Compute the features.

        Args:
            user: Whom the candidates are for.
            candidates: The candidates.
            logits: The cross-encoder's logits, NaN if it did not read the candidate; None if it read none.

        Returns:
            float32[candidates, features], NaN if a feature is missing.
        """
        context = FeatureContext(user, candidates, logits, self._tables, self._half_lives)
        matrix = np.empty((len(candidates), len(self._columns)), dtype=np.float32)
        with np.errstate(over="ignore"):  # a caller's scores may be huge
            for index, column in enumerate(self._columns):
                matrix[:, index] = column(context)
        return matrix

    def with_logits(self, matrix: FloatArray, logits: FloatArray) -> FloatArray:
        """Return a copy of a matrix with logits: the same as computing it again with them, and cheaper."""
        filled = matrix.copy()
        for column in self._logit_columns:
            filled[:, column] = _LOGIT[self.names[column]](logits)
        return filled

    def with_late(self, matrix: FloatArray, scores: FloatArray) -> FloatArray:
        """Return a copy of a matrix with late interaction's scores, NaN if it did not score the candidate."""
        filled = matrix.copy()
        for column in self._late_columns:
            filled[:, column] = _LATE[self.names[column]](scores)
        return filled


_MIN_BEST_SCORE: Final = 1e-9
_ANY_USER = UserRows(np.zeros(1, np.int64))


def _column(name: str, tables: ItemTables) -> Column:
    """Return the function that computes a feature; raises BadRelease if there is none."""
    if name in _PLAIN:
        return _PLAIN[name]
    if name in _LOGIT:
        return partial(_logit_feature, _LOGIT[name])
    if name in _LATE:
        return lambda context: context.constant(np.nan)
    for pattern, family in _FAMILIES:
        found = pattern.fullmatch(name)
        if found and (column := family(tables, *found.groups())) is not None:
            return column
    raise BadRelease(
        f"fusion.json lists the feature {name!r}, which this server cannot compute from the release; serve it with the "
        "version that built it, or build it again"
    )


def _logit_feature(feature: Callable[[FloatArray], FloatArray], context: FeatureContext) -> FloatArray:
    return context.constant(np.nan) if context.logits is None else feature(context.logits)


def _rank(values: FloatArray) -> FloatArray:
    """Return the rank of each value, 0 for the highest, ties by position; NaN for NaN."""
    rank = np.empty(len(values), dtype=np.float32)
    rank[np.argsort(-values, kind="stable")] = np.arange(len(values))
    return np.where(np.isnan(values), np.nan, rank)


def _deviation(values: FloatArray) -> FloatArray:
    return values if np.isnan(values).all() else values - np.nanmean(values)


def _relative(values: FloatArray) -> FloatArray:
    """Return values as shares of the best; NaN if the best is about 0."""
    best = float(np.fmax.reduce(values, initial=-np.inf))
    return values / best if best > _MIN_BEST_SCORE else np.full_like(values, np.nan)


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Divide; NaN by zero."""
    return above / np.where(below > 0, below, np.nan)


def _mean_gap(item: HistoryCounts) -> FloatArray:
    return _ratio(item.first_age - item.last_age, item.count - 1)


def _mean_gap_days(item: HistoryCounts) -> FloatArray:
    return _ratio(item.first_days - item.last_days, item.count - 1)


def _source(_tables: ItemTables, kind: str, name: str) -> Column:
    adjusted = {"source": lambda scores: scores, "relative": _relative, "deviation": _deviation}[kind]
    return lambda c: adjusted(c.candidates.sources.get(name, c.constant(np.nan)))


def _graph(_tables: ItemTables, name: str, weights: str) -> Column:
    return lambda c: c.graph_scores(name, weights)


def _statistic(tables: ItemTables, name: str) -> Column:
    return lambda c: c.item_values(tables.statistic(name))


def _lexical(tables: ItemTables, name: str) -> Column | None:
    if name not in LEXICAL:
        return None
    tables.word_index()
    return lambda c: c.lexical(LEXICAL[name])


def _group(tables: ItemTables, column: str, kind: str) -> Column | None:
    if not tables.has_column(column):
        return None
    return lambda c: _GROUP[kind](c, c.column_counts(column))


def _price_level(tables: ItemTables, column: str) -> Column | None:
    if not tables.has_column(column):
        return None
    return lambda c: c.price_level_in(column)


def _similarity(reduce: Callable[[FloatArray], FloatArray]) -> Column:
    """Return a column of reduced cosines, without the candidate's own text; NaN if no other text is left."""

    def column(context: FeatureContext) -> FloatArray:
        similarity = context.constant(np.nan)
        candidates, cosines = context.known_cosines
        if len(candidates):
            similarity[candidates] = reduce(cosines)
        return similarity

    return column


_SOURCE: Final = re.compile("(source|relative|deviation)_(.+)")
_PLAIN: Final[Mapping[str, Column]] = {
    "history_events": lambda c: c.constant(c.targets),
    "history_items": lambda c: c.constant(len(c.history_shares[0])),
    "variety": lambda c: c.constant(len(c.history_shares[0]) / max(len(c.history), 1)),
    "has_query": lambda c: c.constant(float(bool(c.user.query.strip()))),
    "repeat_count": lambda c: c.item_counts.count,
    "repeat_share": lambda c: c.item_counts.count / max(c.targets, 1),
    "last_age": lambda c: c.item_counts.last_age,
    "first_age": lambda c: c.item_counts.first_age,
    "mean_gap": lambda c: _mean_gap(c.item_counts),
    "due": lambda c: _ratio(c.item_counts.last_age, _mean_gap(c.item_counts)),
    "last_share": lambda c: c.item_counts.last_age / max(c.total, 1),
    "decayed_long": lambda c: c.item_counts.weight,
    "decayed_short": lambda c: c.item_counts.short_weight,
    "interest_events": lambda c: c.constant(len(c.history) - c.targets),
    "interest_strongest": lambda c: c.interest.strongest,
    "interest_weight": lambda c: c.interest.weight,
    "interest_last_age": lambda c: c.interest.last_age,
    "price": lambda c: c.item_values(c.tables.log_prices()),
    "price_level": lambda c: c.price_level,
    "last_days": lambda c: c.item_counts.last_days,
    "due_days": lambda c: _ratio(c.item_counts.last_days, _mean_gap_days(c.item_counts)),
    "idle_days": lambda c: c.constant(np.fmin.reduce(c.days, initial=np.nan)),
    "popularity": lambda c: np.log1p(c.item_values(c.tables.popularity())),
    "popularity_rank": lambda c: c.item_values(c.tables.popularity_rank()),
    "similarity_max": _similarity(lambda cosines: np.nanmax(cosines, axis=1)),
    "similarity_mean": _similarity(lambda cosines: np.nanmean(cosines, axis=1)),
    "similarity_last": _similarity(lambda cosines: cosines[:, -1]),
    "fused": lambda c: c.candidates.first_stage_score,
    "fused_rank": lambda c: _rank(c.candidates.first_stage_score),
}
_LOGIT: Final[Mapping[str, Callable[[FloatArray], FloatArray]]] = {
    "logit": lambda logits: logits,
    "logit_rank": _rank,
    "logit_deviation": _deviation,
}
_LATE: Final[Mapping[str, Callable[[FloatArray], FloatArray]]] = {
    "late_score": lambda scores: scores,
    "late_rank": _rank,
    "late_deviation": _deviation,
}
_GROUP: Final[Mapping[str, Callable[[FeatureContext, HistoryCounts], FloatArray]]] = {
    "affinity": lambda c, group: group.weight / max(float(c.long_weights.sum()), 1e-9),
    "count": lambda _, group: group.count,
    "last_age": lambda _, group: group.last_age,
    "loyalty": lambda c, group: _ratio(c.item_counts.count, group.count),
    "last_days": lambda _, group: group.last_days,
    "due": lambda c, group: group.last_age * group.count / max(c.total, 1),
}
_FAMILIES: Final[Sequence[tuple[re.Pattern[str], Callable[..., Column | None]]]] = (
    (_SOURCE, _source),
    (re.compile("graph_(.+)_(long|short|last)"), _graph),
    (re.compile("query_(.+)"), _lexical),
    (re.compile("(.+)_price_level"), _price_level),
    (re.compile(f"(.+)_({'|'.join(_GROUP)})"), _group),
    (re.compile("item_(.+)"), _statistic),
)

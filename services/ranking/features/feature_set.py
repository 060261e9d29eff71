"""The second stage's features: what the fusion reads of a user and a candidate, in the release's order.

What is missing is NaN, never zero. Serving and training compute them by this module. The names::

    history_events, history_items, has_query          the user: events, distinct items, 1 with a query
    variety                                           distinct items among the events, 1 where nothing comes twice
    repeat_count, repeat_share                        the candidate in the history: events, share of all events
    last_age, first_age, mean_gap, due                events since its last and first, between two, last_age / mean_gap
    last_share                                        last_age as a share of all events
    decayed_long, decayed_short                       its events, weighed by age
    popularity, popularity_rank                       log(1 + popularity), share of the items that are more popular
    COLUMN_affinity, COLUMN_count, COLUMN_last_age    the candidate's category, brand or other text column in the
    COLUMN_loyalty, COLUMN_due                        history: weighed share, events, age of the last; the candidate's
                                                      share of them; age of the last / the mean distance between
    query_NAME                                        what the query's words and the candidate's have in common; the
                                                      names stand in `lexical_features.FEATURES`
    item_NAME                                         an item statistic of the release
    graph_NAME_long, graph_NAME_short, graph_NAME_last  what an item graph says the history goes on to
    similarity_max, similarity_mean, similarity_last  cosines with the history's texts other than its own
    fused, fused_rank                                 the first stage's score, and its rank from 0
    source_NAME, relative_NAME, deviation_NAME        a source's score, its share of the request's best, its distance
                                                      from the request's mean
    logit, logit_rank, logit_deviation                the cross-encoder's; rank, distance from the request's mean
    late_score, late_rank, late_deviation             late interaction's, likewise
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
        names: Which features, in the order of the matrix' columns.
        facts: What the release knows of its items.
        lives: How fast events age.

    Attributes:
        names: As given.
        sources: The first stage's sources whose scores are read.

    Raises:
        BadRelease: A name is unknown, or the release lacks what it is computed from.
    """

    def __init__(self, names: Sequence[str], facts: ItemTables, lives: HalfLives = HalfLives()) -> None:  # noqa: B008 - frozen
        self.names = tuple(names)
        self._facts = facts
        self._lives = lives
        self._columns = [_column(name, facts) for name in names]
        self.sources = frozenset(found[2] for name in names if (found := _SOURCE.fullmatch(name)))
        self._of_logits = [place for place, name in enumerate(names) if name in _LOGIT]
        self._of_late = [place for place, name in enumerate(names) if name in _LATE]
        self.matrix(_NOBODY, CandidateRows.from_rows(np.zeros(1, np.int64)))  # loads what the features read

    def matrix(self, user: UserRows, candidates: CandidateRows, logits: FloatArray | None = None) -> FloatArray:
        """Compute the features.

        Args:
            user: Whom the candidates are for.
            candidates: The candidates.
            logits: The cross-encoder's logits, NaN where it did not read the candidate; default it read none.

        Returns:
            float32[candidates, features], NaN where a feature is missing.
        """
        situation = FeatureContext(user, candidates, logits, self._facts, self._lives)
        matrix = np.empty((len(candidates), len(self._columns)), dtype=np.float32)
        with np.errstate(over="ignore"):  # a caller's scores may be absurd
            for place, column in enumerate(self._columns):
                matrix[:, place] = column(situation)
        return matrix

    def with_logits(self, matrix: FloatArray, logits: FloatArray) -> FloatArray:
        """Return a matrix that was computed without logits with them; the same as computing it anew, and cheaper."""
        filled = matrix.copy()
        for place in self._of_logits:
            filled[:, place] = _LOGIT[self.names[place]](logits)
        return filled

    def with_late(self, matrix: FloatArray, scores: FloatArray) -> FloatArray:
        """Return a matrix with late interaction's scores, NaN where it did not score the candidate."""
        filled = matrix.copy()
        for place in self._of_late:
            filled[:, place] = _LATE[self.names[place]](scores)
        return filled


_NEXT_TO_NOTHING: Final = 1e-9


_NOBODY = UserRows(np.zeros(1, np.int64))


def _column(name: str, facts: ItemTables) -> Column:
    """Return what computes a feature; raises BadRelease where nothing does."""
    if name in _PLAIN:
        return _PLAIN[name]
    if name in _LOGIT:
        return partial(_of_logits, _LOGIT[name])
    if name in _LATE:
        return lambda situation: situation.everywhere(np.nan)
    for pattern, family in _FAMILIES:
        found = pattern.fullmatch(name)
        if found and (column := family(facts, *found.groups())) is not None:
            return column
    raise BadRelease(
        f"fusion.json lists the feature {name!r}, which this server can't compute from the release; serve it with the "
        "version that built it, or build it again"
    )


def _of_logits(feature: Callable[[FloatArray], FloatArray], situation: FeatureContext) -> FloatArray:
    return situation.everywhere(np.nan) if situation.logits is None else feature(situation.logits)


def _rank(values: FloatArray) -> FloatArray:
    """Return the rank of each value, 0 for the highest, ties by position; NaN for NaN."""
    rank = np.empty(len(values), dtype=np.float32)
    rank[np.argsort(-values, kind="stable")] = np.arange(len(values))
    return np.where(np.isnan(values), np.nan, rank)


def _deviation(values: FloatArray) -> FloatArray:
    return values if np.isnan(values).all() else values - np.nanmean(values)


def _relative(values: FloatArray) -> FloatArray:
    """Return values as shares of the best; NaN where the best is next to nothing."""
    best = float(np.fmax.reduce(values, initial=-np.inf))
    return values / best if best > _NEXT_TO_NOTHING else np.full_like(values, np.nan)


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Divide; NaN by zero."""
    return above / np.where(below > 0, below, np.nan)


def _mean_gap(item: HistoryCounts) -> FloatArray:
    return _ratio(item.first_age - item.last_age, item.count - 1)


def _source(_facts: ItemTables, kind: str, name: str) -> Column:
    adjusted = {"source": lambda scores: scores, "relative": _relative, "deviation": _deviation}[kind]
    return lambda s: adjusted(s.candidates.sources.get(name, s.everywhere(np.nan)))


def _graph(_facts: ItemTables, name: str, weights: str) -> Column:
    return lambda s: s.graph(name, weights)


def _statistic(facts: ItemTables, name: str) -> Column:
    return lambda s: s.of_item(facts.statistic(name))


def _lexical(facts: ItemTables, name: str) -> Column | None:
    if name not in LEXICAL:
        return None
    facts.lexicon()
    return lambda s: s.lexical(LEXICAL[name])


def _group(facts: ItemTables, column: str, kind: str) -> Column | None:
    if not facts.has_column(column):
        return None
    return lambda s: _GROUP[kind](s, s.column(column))


def _similarity(reduce: Callable[[FloatArray], FloatArray]) -> Column:
    """Return what reduces the cosines of each candidate, leaving its own text out; NaN where nothing is left."""

    def column(situation: FeatureContext) -> FloatArray:
        similarity = situation.everywhere(np.nan)
        some = ~np.isnan(situation.cosines).all(axis=1)
        if some.any():
            similarity[some] = reduce(situation.cosines[some])
        return similarity

    return column


_SOURCE: Final = re.compile("(source|relative|deviation)_(.+)")


_PLAIN: Final[Mapping[str, Column]] = {
    "history_events": lambda s: s.everywhere(len(s.history)),
    "history_items": lambda s: s.everywhere(len(s.interest[0])),
    "variety": lambda s: s.everywhere(len(s.interest[0]) / max(len(s.history), 1)),
    "has_query": lambda s: s.everywhere(float(bool(s.user.query.strip()))),
    "repeat_count": lambda s: s.item.count,
    "repeat_share": lambda s: s.item.count / max(len(s.history), 1),
    "last_age": lambda s: s.item.last_age,
    "first_age": lambda s: s.item.first_age,
    "mean_gap": lambda s: _mean_gap(s.item),
    "due": lambda s: _ratio(s.item.last_age, _mean_gap(s.item)),
    "last_share": lambda s: s.item.last_age / max(len(s.history), 1),
    "decayed_long": lambda s: s.item.weight,
    "decayed_short": lambda s: s.item.short_weight,
    "popularity": lambda s: np.log1p(s.of_item(s.facts.popularity())),
    "popularity_rank": lambda s: s.of_item(s.facts.popularity_rank()),
    "similarity_max": _similarity(lambda cosines: np.nanmax(cosines, axis=1)),
    "similarity_mean": _similarity(lambda cosines: np.nanmean(cosines, axis=1)),
    "similarity_last": _similarity(lambda cosines: cosines[:, -1]),
    "fused": lambda s: s.candidates.first_stage_score,
    "fused_rank": lambda s: _rank(s.candidates.first_stage_score),
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
    "affinity": lambda s, group: group.weight / max(float(s.long.sum()), 1e-9),
    "count": lambda _, group: group.count,
    "last_age": lambda _, group: group.last_age,
    "loyalty": lambda s, group: _ratio(s.item.count, group.count),
    "due": lambda s, group: group.last_age * group.count / max(len(s.history), 1),
}


_FAMILIES: Final[Sequence[tuple[re.Pattern[str], Callable[..., Column | None]]]] = (
    (_SOURCE, _source),
    (re.compile("graph_(.+)_(long|short|last)"), _graph),
    (re.compile("query_(.+)"), _lexical),
    (re.compile(f"(.+)_({'|'.join(_GROUP)})"), _group),
    (re.compile("item_(.+)"), _statistic),
)

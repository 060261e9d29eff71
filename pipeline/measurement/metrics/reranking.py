"""Measures of re-ranked judged lists: how far a system's scores agree with the grades.

A system gives every judged pair a score. Intervals resample queries, since pairs of one query are correlated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from common.arrays import Float64Array, FloatArray
from pipeline.measurement.metrics.ranking_metrics import Interval, bootstrap_interval, evaluate, paired_bootstrap

_RESAMPLES: Final = 1_000
_RANDOM_ORDERS: Final = 20
ALL_PAIRS: Final = "spearman"
PER_QUERY: Final = ("ndcg@10", "spearman by query", "pair accuracy")


@dataclass(frozen=True, eq=False)
class JudgedLists:
    """The grades of all queries' items, concatenated query by query.

    Attributes:
        grades: 0 and up; float[pairs].
        sizes: Number of items of each query; int64[queries].
    """

    grades: FloatArray
    sizes: npt.NDArray[np.int64]

    @classmethod
    def from_queries(cls, grades: Sequence[FloatArray]) -> JudgedLists:
        """Concatenate the grades of queries."""
        return cls(np.concatenate(grades), np.array([len(one) for one in grades]))

    def split(self, values: FloatArray) -> list[FloatArray]:
        """Split values of the pairs by query."""
        return np.split(values, np.cumsum(self.sizes)[:-1])


@dataclass(frozen=True)
class RerankingResult:
    """The figures of one system.

    Attributes:
        means: Each measure with its 95 % interval over queries.
        lift: Mean NDCG@10 minus that of random orders.
        over: For each earlier system the paired differences by measure.
    """

    means: dict[str, Interval]
    lift: float
    over: dict[str, dict[str, Interval]]


def compare_scores(lists: JudgedLists, systems: Mapping[str, FloatArray], seed: int) -> dict[str, RerankingResult]:
    """Measure systems on the same judged pairs, and compare each with those before it.

    Args:
        lists: The grades.
        systems: By name a score for each pair; each system should beat those before it.
        seed: Seed of bootstrap and random orders.
    """
    by_query = {name: per_query(lists, scores) for name, scores in systems.items()}
    resampled = _resampled_spearman(lists, systems, seed)
    random = random_ndcg(lists, seed)
    results = {}
    names = list(systems)
    for place, name in enumerate(names):
        means = {measure: bootstrap_interval(values, seed=seed) for measure, values in by_query[name].items()}
        means[ALL_PAIRS] = _interval(spearman(systems[name], lists.grades), resampled[name])
        over = {
            before: {
                **{m: paired_bootstrap(by_query[name][m], by_query[before][m], seed=seed) for m in PER_QUERY},
                ALL_PAIRS: _interval(
                    means[ALL_PAIRS].mean - spearman(systems[before], lists.grades), resampled[name] - resampled[before]
                ),
            }
            for before in names[:place]
        }
        results[name] = RerankingResult(means, means["ndcg@10"].mean - random, over)
    return results


def per_query(lists: JudgedLists, scores: FloatArray) -> dict[str, Float64Array]:
    """Return the measures of each single query; queries whose grades are all equal have no correlation.

    Returns:
        By measure of PER_QUERY the scores; shape [queries with the measure].
    """
    pairs = list(zip(lists.split(lists.grades), lists.split(scores), strict=True))
    judged = [(grades, given) for grades, given in pairs if len(grades) and grades.max() > 0]
    graded = [(grades, given) for grades, given in pairs if len(grades) and grades.min() < grades.max()]
    return {
        "ndcg@10": ndcg(judged),
        "spearman by query": np.array([spearman(given, grades) for grades, given in graded]),
        "pair accuracy": np.array([pair_accuracy(grades, given) for grades, given in graded]),
    }


def ndcg(lists: Sequence[tuple[FloatArray, FloatArray]]) -> Float64Array:
    """Return NDCG@10 of lists of (grades, scores); equal scores keep their order."""
    rankings, relevance = {}, {}
    for number, (grades, scores) in enumerate(lists):
        rankings[str(number)] = [str(place) for place in np.argsort(-scores, kind="stable")]
        relevance[str(number)] = {str(place): float(grade) for place, grade in enumerate(grades)}
    return evaluate(rankings, relevance, ["ndcg@10"])["ndcg@10"]


def spearman(scores: FloatArray, grades: FloatArray) -> float:
    """Return Spearman's correlation, ties at their mean rank; 0 if either is constant."""
    return _correlation(rankdata(scores), rankdata(grades))


def pair_accuracy(grades: FloatArray, scores: FloatArray) -> float:
    """Return the share of pairs of different grades that the scores put in the right order; equal scores count half."""
    better = grades[:, None] > grades[None, :]
    difference = scores[:, None] - scores[None, :]
    return float((np.sign(difference[better]) + 1).mean() / 2)


def random_ndcg(lists: JudgedLists, seed: int) -> float:
    """Return the mean NDCG@10 of random orders."""
    generator = np.random.default_rng(seed)
    judged = [grades for grades in lists.split(lists.grades) if len(grades) and grades.max() > 0]
    return float(
        np.mean([ndcg([(one, generator.random(len(one))) for one in judged]).mean() for _ in range(_RANDOM_ORDERS)])
    )


def _resampled_spearman(lists: JudgedLists, systems: Mapping[str, FloatArray], seed: int) -> dict[str, Float64Array]:
    """Return each system's Spearman over all pairs on the same resamples of queries; shape [resamples]."""
    starts = np.concatenate([[0], np.cumsum(lists.sizes)])
    generator = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in systems}
    ranks: Callable[[FloatArray], FloatArray] = rankdata
    for _ in range(_RESAMPLES):
        sample = generator.integers(0, len(lists.sizes), len(lists.sizes))
        rows = np.concatenate([np.arange(starts[query], starts[query + 1]) for query in sample])
        grade_ranks = ranks(lists.grades[rows])
        for name, scores in systems.items():
            found[name].append(_correlation(ranks(scores[rows]), grade_ranks))
    return {name: np.array(values) for name, values in found.items()}


def _correlation(a: FloatArray, b: FloatArray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def _interval(value: float, samples: Float64Array) -> Interval:
    low, high = np.quantile(samples, [0.025, 0.975])
    return Interval(value, float(low), float(high))

"""Measures of ranked lists by trec_eval's definitions (through ir-measures), and bootstrap intervals.

Items without a judgement count as not relevant; users without a ranking count as 0 in every measure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import ir_measures
import numpy as np
from ir_measures import AP, RR, P, R, Success, nDCG
from scipy.stats import bootstrap

from common.arrays import Float64Array
from common.errors import InvalidRequest

Rankings = Mapping[str, Sequence[str]]
Relevance = Mapping[str, Mapping[str, float] | Collection[str]]
# trec_eval accepts whole grades only, and means of several raters are fractions. NDCG, whose gain is the grade itself,
# does not change when every grade is multiplied.
_STEPS_PER_GRADE: Final = 1_000
# At 50, scipy takes 15 ms for 2,000 resamples of 1,000 scores and 80 ms of 5,000; all at once takes 130 ms of 5,000.
_RESAMPLES_PER_BATCH: Final = 50
_FLIPS_PER_BATCH: Final = 100  # bounds the memory of the randomisation test


class Interval(NamedTuple):
    """An estimate with the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float


def evaluate(
    rankings: Rankings, relevance: Relevance, measures: Collection[str], *, relevant_from: float = 0.001
) -> dict[str, Float64Array]:
    """Measure each user's (or query's) ranked list.

    Args:
        rankings: Item ids, best first and each once, by user.
        relevance: By user the relevant items, or items with a grade of 0 and up, in steps of 0.001.
        measures: ``ndcg@10``, ``hr@10``, ``recall@100``, ``precision@10``, ``mrr``, ``mrr@10``, ``map``, ``map@10``.
        relevant_from: The lowest grade of a relevant item, for all measures but ``ndcg``.

    Returns:
        Scores by measure, each of shape [users], users in the order of ``relevance``.

    Raises:
        InvalidRequest: An unknown measure, an item twice in a list, a negative grade, or a user without a
            relevant item.
    """
    threshold = max(1, round(relevant_from * _STEPS_PER_GRADE))
    parsed = {name: _measure(name, threshold) for name in measures}
    grades = {user: _grades(user, judged, threshold) for user, judged in relevance.items()}
    runs = {user: _run(user, rankings[user]) for user in relevance if user in rankings}
    row_of = {user: row for row, user in enumerate(relevance)}
    scores = {name: np.zeros(len(row_of)) for name in parsed}
    if not runs:
        return scores
    names = {measure: name for name, measure in parsed.items()}
    for metric in ir_measures.iter_calc(list(names), grades, runs):
        scores[names[metric.measure]][row_of[metric.query_id]] = metric.value
    return scores


def bootstrap_interval(scores: Float64Array, *, seed: int, resamples: int = 2_000) -> Interval:
    """Return the mean of ``scores`` with its 95 % percentile bootstrap interval over users."""
    if len(scores) == 0:
        raise InvalidRequest("there are no scores to take an interval of")
    mean = float(scores.mean())
    if len(scores) == 1:  # scipy refuses a single observation
        return Interval(mean, mean, mean)
    result = bootstrap(
        (scores,),
        np.mean,
        n_resamples=resamples,
        batch=_RESAMPLES_PER_BATCH,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    # scipy's own percentiles of nearly equal means can be in the wrong order by one rounding error.
    low, high = np.quantile(result.bootstrap_distribution, [0.025, 0.975])
    return Interval(mean, float(low), float(high))


def paired_bootstrap(a: Float64Array, b: Float64Array, *, seed: int, resamples: int = 2_000) -> Interval:
    """Return the mean of ``a - b`` with its 95 % interval; if it is above 0 throughout, ``a`` is significantly better.

    Args:
        a: Scores of one system by user.
        b: Scores of the other for the same users in the same order.
        seed: Seed of the resampling.
        resamples: Number of resamples of the users.
    """
    if a.shape != b.shape:
        raise InvalidRequest(f"paired scores must be of the same users, but there are {len(a)} and {len(b)} scores")
    return bootstrap_interval(a - b, seed=seed, resamples=resamples)


def _measure(name: str, threshold: int) -> ir_measures.Measure:
    kind, _, cutoff = name.partition("@")
    known = {"ndcg": nDCG, "hr": Success, "recall": R, "precision": P, "mrr": RR, "map": AP}
    cut = cutoff.isdecimal() and int(cutoff) > 0
    if kind not in known or not (cut or (not cutoff and kind in ("mrr", "map"))):
        raise InvalidRequest(f"there is no measure {name!r}; the known ones are {'@k, '.join(known)}@k, mrr and map")
    measure = known[kind] if kind == "ndcg" else known[kind](rel=threshold)
    return measure @ int(cutoff) if cutoff else measure


def _grades(user: str, judged: Mapping[str, float] | Collection[str], threshold: int) -> dict[str, int]:
    graded = judged if isinstance(judged, Mapping) else dict.fromkeys(judged, 1.0)
    grades = {item: round(grade * _STEPS_PER_GRADE) for item, grade in graded.items()}
    if min(grades.values(), default=0) < 0:
        raise InvalidRequest(f"{user!r} has a negative grade; grades are 0 and up")
    if max(grades.values(), default=0) < threshold:
        raise InvalidRequest(f"{user!r} has no relevant item and cannot be measured; leave such users out")
    return grades


def _run(user: str, ranking: Sequence[str]) -> dict[str, float]:
    run = {item: float(-rank) for rank, item in enumerate(ranking)}  # trec_eval sorts by score
    if len(run) != len(ranking):
        raise InvalidRequest(f"the ranking of {user!r} names an item twice")
    return run


def paired_p_value(a: Float64Array, b: Float64Array, *, seed: int, flips: int = 5_000) -> float:
    """Return the two-sided p-value of the mean of ``a - b`` by the sign-flip randomisation test.

    If both systems are equally good, each user's difference could have the other sign as well (Smucker, Allan and
    Carterette, CIKM 2007).

    Args:
        a: Scores of one system by user.
        b: Scores of the other for the same users in the same order.
        seed: Seed of the flips.
        flips: Number of random flips; the smallest p-value is 1 / (flips + 1).
    """
    difference = (a - b)[a != b]
    if not len(difference):
        return 1.0
    generator = np.random.default_rng(seed)
    observed = abs(difference.sum()) * (1 - 1e-12)  # equal sums may differ in the last bit
    signs = (
        generator.integers(0, 2, (_FLIPS_PER_BATCH, len(difference))) * 2 - 1 for _ in range(flips // _FLIPS_PER_BATCH)
    )
    extreme = sum(int((np.abs(part @ difference) >= observed).sum()) for part in signs)
    return (extreme + 1) / (flips // _FLIPS_PER_BATCH * _FLIPS_PER_BATCH + 1)

"""The quality of candidate orders, for requests with one target each; a target outside the candidates is missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.arrays import Float64Array
from pipeline.measurement.metrics.ranking_metrics import Interval, bootstrap_interval, paired_bootstrap

_TEN: Final = 10


@dataclass(frozen=True, eq=False)
class MeasuresAtTen:
    """The measures of an order.

    Attributes:
        ndcg: NDCG@10 of each request; float64[requests].
        hit: 1 if its target is among the first ten, else 0; float64[requests].
    """

    ndcg: Float64Array
    hit: Float64Array

    def of(self, chosen: npt.NDArray[np.bool_]) -> MeasuresAtTen:
        """Return the measures of some of the requests."""
        return MeasuresAtTen(self.ndcg[chosen], self.hit[chosen])

    def as_json(self, random: MeasuresAtTen) -> dict[str, Any]:
        """Return the means, NDCG@10 with its 95 % interval, and its difference to a random order."""
        return {
            "ndcg@10": bootstrap_interval(self.ndcg, seed=0)._asdict(),
            "hr@10": float(self.hit.mean()),
            "ndcg@10 over random": float(self.ndcg.mean() - random.ndcg.mean()),
        }

    def less(self, other: MeasuresAtTen) -> dict[str, Interval]:
        """Return the paired differences with their 95 % intervals."""
        return {
            "NDCG@10": paired_bootstrap(self.ndcg, other.ndcg, seed=0),
            "HR@10": paired_bootstrap(self.hit, other.hit, seed=0),
        }


def measures_at_ten(
    labels: npt.NDArray[np.float32], sizes: npt.NDArray[np.int64], scores: npt.NDArray[np.floating[Any]], requests: int
) -> MeasuresAtTen:
    """Measure an order of candidates, of the requests whose target is a candidate.

    Args:
        labels: 1 for the target, one request's candidates after the other.
        sizes: How many candidates each request has.
        scores: Higher is better; ties keep the first stage's order.
        requests: The number of requests, including those whose target is no candidate.

    Returns:
        The measures of these requests in their order, then 0 for each of the others.
    """
    ends = np.cumsum(sizes)[:-1]
    ranks = [
        int(np.flatnonzero(its[np.argsort(-values, kind="stable")])[0])
        for its, values in zip(np.split(labels, ends), np.split(scores, ends), strict=True)
    ]
    return _with_missed(_discounts(np.array(ranks)), np.array(ranks) < _TEN, requests)


def random_measures_at_ten(sizes: npt.NDArray[np.int64], requests: int) -> MeasuresAtTen:
    """Return the expected measures of a random order, in which the target is equally likely at each rank."""
    discounts = [_discounts(np.arange(size)).mean() for size in sizes.tolist()]
    return _with_missed(np.array(discounts), np.minimum(_TEN / sizes, 1.0), requests)


def _discounts(ranks: npt.NDArray[np.int64]) -> Float64Array:
    return np.where(ranks < _TEN, 1 / np.log2(ranks + 2), 0.0)


def _with_missed(ndcg: Float64Array, hit: npt.NDArray[Any], requests: int) -> MeasuresAtTen:
    missed = np.zeros(requests - len(ndcg))
    return MeasuresAtTen(np.concatenate([ndcg, missed]), np.concatenate([hit.astype(np.float64), missed]))

"""How good orders of candidates are, of requests with one target each; what the first stage missed counts as missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.arrays import Float64Array
from pipeline.measurement.metrics.ranking_metrics import Interval, bootstrap_interval, paired_bootstrap

_TEN: Final = 10


@dataclass(frozen=True, eq=False)
class AtTen:
    """An order's measures.

    Attributes:
        ndcg: NDCG@10 of each request; float64[requests].
        hit: Whether its target is among the first ten, 1 or 0; float64[requests].
    """

    ndcg: Float64Array
    hit: Float64Array

    def of(self, chosen: npt.NDArray[np.bool_]) -> AtTen:
        """Return the measures of some of the requests."""
        return AtTen(self.ndcg[chosen], self.hit[chosen])

    def as_json(self, random: AtTen) -> dict[str, Any]:
        """Return the means, NDCG@10 with its 95 % interval, and what it is above random's."""
        return {
            "ndcg@10": bootstrap_interval(self.ndcg, seed=0)._asdict(),
            "hr@10": float(self.hit.mean()),
            "ndcg@10 over random": float(self.ndcg.mean() - random.ndcg.mean()),
        }

    def less(self, other: AtTen) -> dict[str, Interval]:
        """Return the paired differences with their 95 % intervals."""
        return {
            "NDCG@10": paired_bootstrap(self.ndcg, other.ndcg, seed=0),
            "HR@10": paired_bootstrap(self.hit, other.hit, seed=0),
        }


def at_ten(
    labels: npt.NDArray[np.float32], sizes: npt.NDArray[np.int64], scores: npt.NDArray[np.floating[Any]], requests: int
) -> AtTen:
    """Measure an order of the candidates of requests whose target was found.

    Args:
        labels: 1 for the target, one request's candidates after the other.
        sizes: How many candidates each request has.
        scores: The order, higher first; equal ones stay in the first stage's order.
        requests: How many requests there are with those whose target was not found.

    Returns:
        The measures of the found requests in their order, then 0 for each of the others.
    """
    ends = np.cumsum(sizes)[:-1]
    places = [
        int(np.flatnonzero(its[np.argsort(-values, kind="stable")])[0])
        for its, values in zip(np.split(labels, ends), np.split(scores, ends), strict=True)
    ]
    return _with_missed(_gains(np.array(places)), np.array(places) < _TEN, requests)


def random_at_ten(sizes: npt.NDArray[np.int64], requests: int) -> AtTen:
    """Return what random orders are expected to reach: a target is as likely at each place."""
    gains = [_gains(np.arange(size)).mean() for size in sizes.tolist()]
    return _with_missed(np.array(gains), np.minimum(_TEN / sizes, 1.0), requests)


def _gains(places: npt.NDArray[np.int64]) -> Float64Array:
    return np.where(places < _TEN, 1 / np.log2(places + 2), 0.0)


def _with_missed(ndcg: Float64Array, hit: npt.NDArray[Any], requests: int) -> AtTen:
    missed = np.zeros(requests - len(ndcg))
    return AtTen(np.concatenate([ndcg, missed]), np.concatenate([hit.astype(np.float64), missed]))

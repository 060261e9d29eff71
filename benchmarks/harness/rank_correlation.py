"""Spearman's rank correlation of score and relevance over all judged pairs, and the difference of two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.measurement.metrics.ranking_metrics import Interval

Scores = Sequence[npt.NDArray[np.float32]]
_RESAMPLES: Final = 500


def spearman(examples: Sequence[RankingExample], scores: Scores) -> float:
    """Return the correlation over the pairs of all queries."""
    relevance = rankdata(np.concatenate([one.labels for one in examples]))
    return float(np.corrcoef(rankdata(np.concatenate(scores)), relevance)[0, 1])


def spearman_difference(examples: Sequence[RankingExample], scores: Scores, others: Scores) -> Interval:
    """Return the correlation of ``scores`` minus that of ``others``, with a bootstrap interval over queries.

    Ranks are those among all pairs.
    """
    relevance = rankdata(np.concatenate([one.labels for one in examples]))
    ranks = [rankdata(np.concatenate(one)) for one in (scores, others)]
    cuts = np.cumsum([len(one.labels) for one in examples])
    rows = np.split(np.arange(len(relevance)), cuts[:-1])
    generator = np.random.default_rng(0)

    def difference(chosen: npt.NDArray[np.int64]) -> float:
        ours, theirs = (float(np.corrcoef(one[chosen], relevance[chosen])[0, 1]) for one in ranks)
        return ours - theirs

    resampled = [
        difference(np.concatenate([rows[query] for query in generator.integers(0, len(rows), len(rows))]))
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(difference(np.arange(len(relevance))), float(low), float(high))

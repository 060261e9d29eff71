"""The long tail: expected demand against sales, and the cost of a minimum long-tail share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from common.arrays import Float64Array
from pipeline.measurement.metrics.baseline_result import Demand, DemandBin, LongTailPoint
from pipeline.measurement.metrics.beyond_accuracy import K
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.item_popularity import BANDS, ItemPopularity
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import Answer, rankings
from pipeline.measurement.questions.policy import select_by_policy
from pipeline.measurement.questions.protocols import Question
from services.gateway.policy.policy import Policy

RECALL: Final = "recall@100"
_TAIL: Final = BANDS.index("tail")
_BINS: Final = 12
# The minimum shares that are measured.
LONG_TAIL_SHARES: Final = (0.0, 0.1, 0.2, 0.3, 0.5)
_MEASURE: Final = "ndcg@10"


def tail_questions(questions: Sequence[Question], items: ItemPopularity) -> list[Question]:
    """Return the questions with a relevant item of the tail, restricted to such items."""
    restricted = []
    for question in questions:
        rows = items.catalogue.rows_of(list(question.relevant))
        pairs = zip(question.relevant.items(), rows.tolist(), strict=True)
        relevant = {item: grade for (item, grade), row in pairs if grade > 0 and row >= 0 and items.band[row] == _TAIL}
        if relevant:
            restricted.append(replace(question, relevant=relevant))
    return restricted


def tail_recall(questions: Sequence[Question], answers: Mapping[str, Answer], items: ItemPopularity) -> Float64Array:
    """Return recall@100 of the tail's relevant items for each question that has some; shape [questions]."""
    relevance = {question.key: question.relevant for question in tail_questions(questions, items)}
    return evaluate(rankings({key: answers[key] for key in relevance}), relevance, [RECALL])[RECALL]


def expected_demand(
    questions: Sequence[Question], answers: Mapping[str, Answer], items: ItemPopularity
) -> Demand | None:
    """Compare each item's summed probability over users with the number of users that took it later.

    An item that is not in an answer has probability 0 in it.

    Args:
        questions: The questions, one for each user.
        answers: Their answers.
        items: The catalogue's items.

    Returns:
        The comparison; None if answers have no probabilities.
    """
    expected, sold = np.zeros(len(items)), np.zeros(len(items))
    for question in questions:
        answer = answers[question.key]
        if np.isnan(answer.probability).any() or not len(answer.probability):
            return None
        rows = items.catalogue.rows_of(list(answer.item_ids))
        expected[rows[rows >= 0]] += answer.probability[rows >= 0]
        sold[items.rows([item for item, grade in question.relevant.items() if grade > 0])] += 1
    return Demand(
        users=len(questions),
        correlation=_rank_correlation(expected, sold),
        bins=_bins(expected, sold),
        bands={
            name: (float(expected[items.band == band].sum()), float(sold[items.band == band].sum()))
            for band, name in enumerate(BANDS)
        },
    )


def long_tail_cost(
    questions: Sequence[Question],
    answers: Mapping[str, Answer],
    items: ItemPopularity,
    seed: int,
    served: Mapping[float, Mapping[str, Answer]] | None = None,
) -> list[LongTailPoint]:
    """Measure the cost of a minimum long-tail share among the first ten.

    The cost is computed by applying the gateway's policy to answers without a minimum, so only listed items can be
    swapped in. If answers with each minimum are given, they are measured too.

    Args:
        questions: The questions.
        answers: The answers without a minimum.
        items: The catalogue's items.
        seed: Seed of the intervals.
        served: By minimum share, 0 included, the first ten items as served with it.
    """
    relevance = {question.key: question.relevant for question in questions}
    computed = {
        share: {
            key: apply_long_tail_share(answers[key], _in_tail(answers[key].item_ids, items), share) for key in relevance
        }
        for share in LONG_TAIL_SHARES
    }
    expected = _LongTailMeasures(computed, relevance, items, seed)
    served_rankings = {share: rankings(given) for share, given in (served or {}).items()}
    actual = _LongTailMeasures(served_rankings, relevance, items, seed) if served_rankings else None
    return [
        LongTailPoint(
            min_share=share,
            long_tail_share=expected.long_tail_share(share),
            quality=expected.quality(share),
            cost=expected.cost(share),
            served_long_tail_share=actual.long_tail_share(share) if actual else None,
            served_cost=actual.cost(share) if actual else None,
        )
        for share in LONG_TAIL_SHARES
    ]


def apply_long_tail_share(answer: Answer, tail: npt.NDArray[np.bool_], share: float) -> list[str]:
    """Return the first ten items of an answer by the gateway's policy with a minimum long-tail share.

    Args:
        answer: The answer without a minimum.
        tail: Whether each item belongs to the long tail; shape [items].
        share: The minimum share.
    """
    positions = select_by_policy(answer.item_ids, tail, answer.probability, Policy(limit=K, min_long_tail_share=share))
    return [answer.item_ids[position] for position in positions.tolist()]


class _LongTailMeasures:
    """Measures of the first ten items by minimum long-tail share."""

    def __init__(
        self,
        ranked: Mapping[float, Mapping[str, Sequence[str]]],
        relevance: Mapping[str, Mapping[str, float]],
        items: ItemPopularity,
        seed: int,
    ) -> None:
        self._ranked = ranked
        self._items = items
        self._seed = seed
        self._scores = {
            share: evaluate({key: given[key] for key in relevance}, relevance, [_MEASURE])[_MEASURE]
            for share, given in ranked.items()
        }

    def long_tail_share(self, share: float) -> float:
        """Return the mean long-tail share."""
        shown = [_in_tail(ids, self._items).mean() for ids in self._ranked[share].values() if len(ids)]
        return float(np.mean(shown)) if shown else 0.0

    def quality(self, share: float) -> Estimate:
        """Return NDCG@10."""
        return Estimate.from_scores(self._scores[share], self._seed)

    def cost(self, share: float) -> Difference:
        """Return the paired difference in NDCG@10 to a minimum of 0."""
        return Difference.between(self._scores[share], self._scores[0.0], self._seed)


def _in_tail(item_ids: Sequence[str], items: ItemPopularity) -> npt.NDArray[np.bool_]:
    rows = items.catalogue.rows_of(list(item_ids))
    return np.asarray((rows >= 0) & (items.band[np.maximum(rows, 0)] == _TAIL))


def _bins(expected: npt.NDArray[np.float64], sold: npt.NDArray[np.float64]) -> list[DemandBin]:
    """Split the items with expected demand into bins of equal expected demand, the least demanded first."""
    rows = np.flatnonzero(expected > 0)
    rows = rows[np.argsort(expected[rows], kind="stable")]
    if not len(rows):
        return []
    running = np.cumsum(expected[rows])
    cuts = np.searchsorted(running, running[-1] * np.arange(1, _BINS) / _BINS)
    return [
        DemandBin(expected=float(expected[part].mean()), sold=float(sold[part].mean()), items=len(part))
        for part in np.split(rows, np.unique(cuts))
        if len(part)
    ]


def _rank_correlation(expected: npt.NDArray[np.float64], sold: npt.NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation; 0 if one of them is constant."""
    if np.ptp(expected) == 0 or np.ptp(sold) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(expected), rankdata(sold))[0, 1])

"""The long tail: what was expected to sell against what sold, and what showing more of the tail costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from common.arrays import Float64Array
from pipeline.measurement.metrics.baseline_result import Demand, DemandBin, SteeringPoint
from pipeline.measurement.metrics.beyond_accuracy import K
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.item_popularity import BANDS, ItemPopularity
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import Answer, rankings
from pipeline.measurement.questions.policy import chosen
from pipeline.measurement.questions.protocols import Question
from services.gateway.policy.policy import Policy

RECALL: Final = "recall@100"


_TAIL: Final = BANDS.index("tail")


_BINS: Final = 12


# The least shares that are measured.
STEERED: Final = (0.0, 0.1, 0.2, 0.3, 0.5)


_MEASURE: Final = "ndcg@10"


def tail_questions(questions: Sequence[Question], facts: ItemPopularity) -> list[Question]:
    """Return the questions of which some wanted item is of the tail, with those items alone."""
    kept = []
    for question in questions:
        rows = facts.catalogue.rows_of(list(question.relevant))
        pairs = zip(question.relevant.items(), rows.tolist(), strict=True)
        wanted = {item: grade for (item, grade), row in pairs if grade > 0 and row >= 0 and facts.band[row] == _TAIL}
        if wanted:
            kept.append(replace(question, relevant=wanted))
    return kept


def tail_recall(questions: Sequence[Question], answers: Mapping[str, Answer], facts: ItemPopularity) -> Float64Array:
    """Return recall@100 of what was wanted of the tail, of each question that wanted some; shape [questions]."""
    relevance = {question.key: question.relevant for question in tail_questions(questions, facts)}
    return evaluate(rankings({key: answers[key] for key in relevance}), relevance, [RECALL])[RECALL]


def expected_demand(
    questions: Sequence[Question], answers: Mapping[str, Answer], facts: ItemPopularity
) -> Demand | None:
    """Compare each item's summed probability over the users asked with how many of them took it later.

    An answer says nothing of items that it does not list: they are expected from nobody. None where answers have no
    probabilities.

    Args:
        questions: The users asked.
        answers: What they were answered.
        facts: The catalogue.
    """
    expected, sold = np.zeros(len(facts)), np.zeros(len(facts))
    for question in questions:
        answer = answers[question.key]
        if np.isnan(answer.probability).any() or not len(answer.probability):
            return None
        rows = facts.catalogue.rows_of(list(answer.item_ids))
        expected[rows[rows >= 0]] += answer.probability[rows >= 0]
        sold[facts.rows([item for item, grade in question.relevant.items() if grade > 0])] += 1
    return Demand(
        users=len(questions),
        correlation=_rank_correlation(expected, sold),
        bins=_bins(expected, sold),
        bands={
            name: (float(expected[facts.band == band].sum()), float(sold[facts.band == band].sum()))
            for band, name in enumerate(BANDS)
        },
    )


def steering(
    questions: Sequence[Question],
    answers: Mapping[str, Answer],
    facts: ItemPopularity,
    seed: int,
    served: Mapping[float, Mapping[str, Answer]] | None = None,
) -> list[SteeringPoint]:
    """Measure what a least share of the tail among the first ten costs.

    It is foretold from the answers as they are, by the gateway's own policy: an item of the tail that they do not list
    can't come in. Where the same was asked for with each share, what was answered is measured beside it.

    Args:
        questions: The questions.
        answers: The answers, as they are.
        facts: The catalogue.
        seed: Of the intervals.
        served: By share, 0 among them, the first ten as they were answered with it.
    """
    relevance = {question.key: question.relevant for question in questions}
    foretold = {
        share: {
            key: apply_long_tail_share(answers[key], _of_tail(answers[key].item_ids, facts), share) for key in relevance
        }
        for share in STEERED
    }
    measured = _Steered(foretold, relevance, facts, seed)
    answered = {share: rankings(given) for share, given in (served or {}).items()}
    asked = _Steered(answered, relevance, facts, seed) if answered else None
    return [
        SteeringPoint(
            kept=share,
            long_tail_share=measured.long_tail_share(share),
            quality=measured.quality(share),
            cost=measured.cost(share),
            served_tail_share=asked.long_tail_share(share) if asked else None,
            served_cost=asked.cost(share) if asked else None,
        )
        for share in STEERED
    ]


def apply_long_tail_share(answer: Answer, tail: npt.NDArray[np.bool_], share: float) -> list[str]:
    """Return the first ten items of an answer as the gateway gives them with a least share of the tail.

    Args:
        answer: The answer without it.
        tail: Whether each of its items is of the tail; shape [items].
        share: The least share.
    """
    places = chosen(answer.item_ids, tail, answer.probability, Policy(limit=K, min_long_tail_share=share))
    return [answer.item_ids[place] for place in places.tolist()]


class _Steered:
    """The first ten by the least share of the tail, measured."""

    def __init__(
        self,
        ranked: Mapping[float, Mapping[str, Sequence[str]]],
        relevance: Mapping[str, Mapping[str, float]],
        facts: ItemPopularity,
        seed: int,
    ) -> None:
        self._ranked = ranked
        self._facts = facts
        self._seed = seed
        self._scores = {
            share: evaluate({key: given[key] for key in relevance}, relevance, [_MEASURE])[_MEASURE]
            for share, given in ranked.items()
        }

    def long_tail_share(self, share: float) -> float:
        """Return the mean share of the tail."""
        shown = [_of_tail(items, self._facts).mean() for items in self._ranked[share].values() if len(items)]
        return float(np.mean(shown)) if shown else 0.0

    def quality(self, share: float) -> Estimate:
        """Return the measure."""
        return Estimate.of(self._scores[share], self._seed)

    def cost(self, share: float) -> Difference:
        """Return the paired difference to no share kept."""
        return Difference.between(self._scores[share], self._scores[0.0], self._seed)


def _of_tail(items: Sequence[str], facts: ItemPopularity) -> npt.NDArray[np.bool_]:
    rows = facts.catalogue.rows_of(list(items))
    return np.asarray((rows >= 0) & (facts.band[np.maximum(rows, 0)] == _TAIL))


def _bins(expected: npt.NDArray[np.float64], sold: npt.NDArray[np.float64]) -> list[DemandBin]:
    """Part the items that anybody was expected to take into bins of equal expected demand, the least demanded first."""
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
    """Return Spearman's rank correlation; 0 where one of them is the same for all items."""
    if np.ptp(expected) == 0 or np.ptp(sold) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(expected), rankdata(sold))[0, 1])

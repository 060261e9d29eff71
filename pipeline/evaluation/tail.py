"""The long tail: what was expected to sell against what sold, and what showing more of the tail costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from pipeline.evaluation.answers import Answer, rankings
from pipeline.evaluation.estimates import Difference, Estimate
from pipeline.evaluation.facts import BANDS, CatalogueFacts
from pipeline.evaluation.measures import K
from pipeline.evaluation.questions import Question
from pipeline.evaluation.result_methods import Demand, DemandBin, SteeringPoint
from pipeline.metrics import Scores, evaluate

RECALL: Final = "recall@100"
_TAIL: Final = BANDS.index("tail")
_BINS: Final = 12
_SHARES: Final = (0.1, 0.2, 0.3, 0.5)
_MEASURE: Final = "ndcg@10"


def tail_questions(questions: Sequence[Question], facts: CatalogueFacts) -> list[Question]:
    """Return the questions of which some wanted item is of the tail, with those items alone."""
    kept = []
    for question in questions:
        rows = facts.catalogue.rows_of(list(question.relevant))
        pairs = zip(question.relevant.items(), rows.tolist(), strict=True)
        wanted = {item: grade for (item, grade), row in pairs if grade > 0 and row >= 0 and facts.band[row] == _TAIL}
        if wanted:
            kept.append(replace(question, relevant=wanted))
    return kept


def tail_recall(questions: Sequence[Question], answers: Mapping[str, Answer], facts: CatalogueFacts) -> Scores:
    """Return recall@100 of what was wanted of the tail, of each question that wanted some; shape [questions]."""
    relevance = {question.key: question.relevant for question in tail_questions(questions, facts)}
    return evaluate(rankings({key: answers[key] for key in relevance}), relevance, [RECALL])[RECALL]


def expected_demand(
    questions: Sequence[Question], answers: Mapping[str, Answer], facts: CatalogueFacts
) -> Demand | None:
    """Compare each item's summed probability over the people asked with how many of them took it later.

    An answer says nothing of items that it does not list: they are expected from nobody. None where answers have no
    probabilities.

    Args:
        questions: The people asked.
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
        people=len(questions),
        correlation=_rank_correlation(expected, sold),
        bins=_bins(expected, sold),
        bands={
            name: (float(expected[facts.band == band].sum()), float(sold[facts.band == band].sum()))
            for band, name in enumerate(BANDS)
        },
    )


def steering(
    questions: Sequence[Question], answers: Mapping[str, Answer], facts: CatalogueFacts, seed: int
) -> list[SteeringPoint]:
    """Keep places of the first ten for the tail, and measure what that costs.

    The most probable items of the tail come first into the places kept, in the answer's own order; an answer that has
    fewer of them leaves the places to the others.

    Args:
        questions: The questions.
        answers: The answers, as they are.
        facts: The catalogue.
        seed: Of the intervals.
    """
    relevance = {question.key: question.relevant for question in questions}
    plain = rankings({key: answers[key] for key in relevance})
    scores = evaluate(plain, relevance, [_MEASURE])[_MEASURE]
    points = [_point(0.0, plain, scores, scores, facts, seed)]
    for share in _SHARES:
        steered = {key: steer(items, _of_tail(items, facts), round(share * K)) for key, items in plain.items()}
        points.append(_point(share, steered, evaluate(steered, relevance, [_MEASURE])[_MEASURE], scores, facts, seed))
    return points


def steer(items: Sequence[str], tail: npt.NDArray[np.bool_], places: int) -> list[str]:
    """Move items of the tail up until ``places`` of the first ten are theirs; the order stays otherwise.

    Args:
        items: Item ids, best first.
        tail: Whether each is of the tail; shape [items].
        places: How many of the first ten to give to the tail at least.
    """
    inside = np.flatnonzero(tail)[:places]
    others = [place for place in range(len(items)) if place not in set(inside.tolist())]
    first = sorted([*inside.tolist(), *others[: max(0, K - len(inside))]])
    chosen = set(first)
    return [items[place] for place in (*first, *(place for place in range(len(items)) if place not in chosen))]


def _of_tail(items: Sequence[str], facts: CatalogueFacts) -> npt.NDArray[np.bool_]:
    rows = facts.catalogue.rows_of(list(items))
    return np.asarray((rows >= 0) & (facts.band[np.maximum(rows, 0)] == _TAIL))


def _point(
    share: float, ranked: Mapping[str, Sequence[str]], scores: Scores, plain: Scores, facts: CatalogueFacts, seed: int
) -> SteeringPoint:
    shown = [_of_tail(items[:K], facts).mean() for items in ranked.values() if len(items)]
    return SteeringPoint(
        kept=share,
        tail_share=float(np.mean(shown)) if shown else 0.0,
        quality=Estimate.of(scores, seed),
        cost=Difference.between(scores, plain, seed),
    )


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

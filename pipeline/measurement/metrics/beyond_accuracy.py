"""Measures beyond accuracy: novelty, diversity, coverage and concentration of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.arrays import Float64Array
from pipeline.measurement.metrics.item_popularity import ItemPopularity
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import Answer, rankings
from pipeline.measurement.questions.protocols import Question

K: Final = 10
RANKING_MEASURES: Final = ("ndcg@10", "hr@10", "recall@10", "recall@100", "precision@10", "map@100", "mrr@10")
# In the order of reports.
MEASURES: Final = (*RANKING_MEASURES, "f1@10", "auc", "novelty@10", "diversity@10", "tail share@10")
JUDGED_MEASURE: Final = "ndcg@10 judged"


def measure_answers(
    questions: Sequence[Question], answers: Mapping[str, Answer], facts: ItemPopularity, *, judged: bool = False
) -> dict[str, Float64Array]:
    """Measure each answer.

    Args:
        questions: The questions.
        answers: The answers by question.
        facts: The catalogue.
        judged: Whether to measure also, as `ndcg@10 judged`, the answers without their unjudged items.

    Returns:
        Scores by measure, each of shape [questions] in their order.
    """
    relevance = {question.key: question.relevant for question in questions}
    ranked = rankings(answers)
    scores = evaluate(ranked, relevance, RANKING_MEASURES)
    scores["f1@10"] = f1(scores["precision@10"], scores["recall@10"])
    if judged:
        condensed = {key: [item for item in items if item in relevance[key]] for key, items in ranked.items()}
        scores[JUDGED_MEASURE] = evaluate(condensed, relevance, ["ndcg@10"])["ndcg@10"]
    rows = [_beyond_ranking(question, answers[question.key], facts) for question in questions]
    names = ("auc", "novelty@10", "diversity@10", "tail share@10")
    return scores | dict(zip(names, np.array(rows, np.float64).reshape(-1, len(names)).T, strict=True))


def _beyond_ranking(question: Question, answer: Answer, facts: ItemPopularity) -> tuple[float, float, float, float]:
    relevant = {item for item, grade in question.relevant.items() if grade > 0}
    shown = facts.rows(answer.item_ids[:K])
    information = facts.self_information()[shown]
    return (
        auc_of_list(answer.item_ids, relevant, len(facts)),
        float(information.mean()) if len(shown) else 0.0,
        diversity(facts.vectors[facts.vector_of[shown]]),
        float((facts.band[shown] == 2).mean()) if len(shown) else 0.0,  # noqa: PLR2004 - the tail
    )


def f1(precision: Float64Array, recall: Float64Array) -> Float64Array:
    """Return the harmonic mean of precision and recall, 0 if both are 0."""
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def auc_of_list(ranking: Sequence[str], relevant: set[str], items: int) -> float:
    """Return the share of pairs (relevant item, other item of the catalogue) that a list puts in the right order.

    Items that are not in the list tie behind it: half of such a pair is right. That includes relevant items that the
    catalogue does not have.
    """
    others = items - len(relevant)
    if others <= 0 or not relevant:
        return 0.5
    right, above = 0.0, 0
    for item in ranking:
        if item in relevant:
            right += others - above
        else:
            above += 1
    left_out = len(relevant.difference(ranking))
    return (right + left_out * max(others - above, 0) / 2) / (len(relevant) * others)


def diversity(vectors: npt.NDArray[np.floating[Any]]) -> float:
    """Return one minus the mean cosine of pairs of unit vectors; 0 for fewer than two."""
    count = len(vectors)
    if count < 2:  # noqa: PLR2004 - a pair
        return 0.0
    total = np.asarray(vectors, np.float64).sum(axis=0)
    pairs = (total @ total - (np.asarray(vectors, np.float64) ** 2).sum()) / (count * (count - 1))
    return float(1.0 - pairs)


def exposure(answers: Mapping[str, Answer], facts: ItemPopularity, k: int = K) -> npt.NDArray[np.int64]:
    """Return the number of answers that have each item among their first ``k``; int [items]."""
    shown = [facts.rows(answer.item_ids[:k]) for answer in answers.values()]
    return np.bincount(np.concatenate(shown) if shown else np.empty(0, np.int64), minlength=len(facts))


def gini(counts: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> float:
    """Return the Gini coefficient of exposure: 0 if all items are shown equally often, near 1 if only one is.

    With the sorted counts x: sum((2 i - n - 1) x_i) / (n sum(x)).
    """
    total = counts.sum()
    if not total:
        return 0.0
    ordered, items = np.sort(counts), len(counts)
    weights = 2 * np.arange(1, items + 1) - items - 1
    return float((weights * ordered).sum() / (items * total))


def concentration(
    counts: npt.NDArray[np.int64], popularity: npt.NDArray[np.float64], points: int = 50
) -> list[tuple[float, float]]:
    """Return the share of ``counts`` that falls on the least popular share of the items, as points of a curve."""
    order = np.argsort(popularity, kind="stable")
    running = np.concatenate([[0.0], np.cumsum(counts[order])])
    places = np.unique(np.linspace(0, len(order), points + 1).round().astype(np.int64))
    total = running[-1] or 1.0
    return [(float(place / max(len(order), 1)), float(running[place] / total)) for place in places]

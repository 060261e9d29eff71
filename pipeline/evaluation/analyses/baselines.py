"""Comparison of the two stages with single methods, on the same questions and the same known events."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Float64Array
from common.errors import InvalidRequest
from pipeline.data.dataset.event_kinds import target_events
from pipeline.evaluation.analyses.long_tail import tail_questions, tail_recall
from pipeline.evaluation.analyses.rating_prediction import rating_errors
from pipeline.learning.baselines.methods import BASELINES, BaselineData
from pipeline.learning.item_graphs.purchases import Purchases
from pipeline.measurement.metrics.baseline_result import BaselineComparison, BaselineResult
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.item_popularity import ItemPopularity
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import Answer, rankings
from pipeline.measurement.questions.protocols import Question, Questions
from pipeline.progress import ProgressReport
from services.ranking.request import UserRows

MAIN_MEASURE: Final = "ndcg@10"
TAIL_MEASURE: Final = "tail recall@100"
MEASURES: Final = ("ndcg@10", "hr@10", "recall@100")


@dataclass(frozen=True)
class BaselineAnswers:
    """The answers of one baseline.

    Attributes:
        answers: By question.
        fit_s: Seconds to fit it.
        answer_ms: Median milliseconds of an answer.
    """

    answers: dict[str, Answer]
    fit_s: float
    answer_ms: float


def answer_by_baselines(
    questions: Questions,
    items: ItemPopularity,
    limit: int,
    seed: int,
    report: ProgressReport,
    names: Collection[str] = tuple(BASELINES),
) -> dict[str, BaselineAnswers]:
    """Fit each baseline to the events before the questions, and answer all questions.

    Args:
        questions: The questions.
        items: The catalogue's items.
        limit: Number of items in an answer.
        seed: Seed of the factors.
        report: Receives a step for each baseline.
        names: The baselines.

    Raises:
        InvalidRequest: The questions have different times.
        NotReady: A library that a baseline needs is not installed.
    """
    if questions.event_split is None:
        raise InvalidRequest("baselines are fitted to the events before one time: use --protocol temporal")
    before = target_events(questions.event_split.before)
    purchases = Purchases.of(before, items.catalogue, questions.event_split.time)
    known = BaselineData(purchases, items.catalogue, seed)
    answers_by_name = {}
    for name in names:
        with report.step(f"Answering by the baseline: {name}", len(questions.main)) as step:
            started = time.perf_counter()
            baseline = BASELINES[name](known)
            fit_s, answers = time.perf_counter() - started, {}
            for question in questions.main:
                answer_started = time.perf_counter()
                user = UserRows(items.rows(list(question.history)), question.query)
                best = _best(np.asarray(baseline.scores(user), np.float64), limit)
                ids = [items.catalogue.item_ids[row] for row in best]
                ms = {"total": (time.perf_counter() - answer_started) * 1e3}
                answers[question.key] = Answer(ids, np.full(len(ids), np.nan), ms)
                step.advance()
        answers_by_name[name] = BaselineAnswers(
            answers, fit_s, float(np.median([answer.ms["total"] for answer in answers.values()]))
        )
    return answers_by_name


def compare_baselines(
    questions: Questions,
    baselines: Mapping[str, BaselineAnswers],
    two_stages: Mapping[str, Answer],
    items: ItemPopularity,
    seed: int,
) -> BaselineComparison:
    """Measure baselines and two stages on the same questions.

    Args:
        questions: The questions.
        baselines: The baselines' answers.
        two_stages: The two stages' answers.
        items: The catalogue's items.
        seed: Seed of intervals and tests.
    """
    scores = {name: _scores(questions.main, given.answers, items) for name, given in baselines.items()}
    own = _scores(questions.main, two_stages, items)
    return BaselineComparison(
        best=max(scores, key=lambda name: float(scores[name][MAIN_MEASURE].mean())),
        tail_questions=len(tail_questions(questions.main, items)),
        by_name={
            name: BaselineResult(
                measures=_estimates(measured, seed),
                two_stages_over={
                    kind: Difference.between(own[kind], values, seed)
                    for kind, values in measured.items()
                    if len(values)
                },
                fit_s=baselines[name].fit_s,
                answer_ms=baselines[name].answer_ms,
            )
            for name, measured in scores.items()
        },
        two_stages=_estimates(own, seed),
        ratings=None
        if questions.event_split is None
        else rating_errors(questions.event_split.before, questions.event_split.after),
    )


def _scores(
    questions: Sequence[Question], answers: Mapping[str, Answer], items: ItemPopularity
) -> dict[str, Float64Array]:
    relevance = {question.key: question.relevant for question in questions}
    scores = evaluate(rankings({key: answers[key] for key in relevance}), relevance, MEASURES)
    return {**scores, TAIL_MEASURE: tail_recall(questions, answers, items)}


def _estimates(scores: Mapping[str, Float64Array], seed: int) -> dict[str, Estimate]:
    return {kind: Estimate.from_scores(values, seed) for kind, values in scores.items() if len(values)}


def _best(scores: np.ndarray[tuple[int], np.dtype[np.float64]], limit: int) -> list[int]:
    """Return the rows of the highest scores, ties by row; none if all scores are equal."""
    if not np.ptp(scores):
        return []
    return [int(row) for row in np.argsort(-scores, kind="stable")[:limit]]

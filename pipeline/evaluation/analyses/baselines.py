"""Single methods beside the two stages: the same questions, what was known at the same moment, paired differences."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Float64Array
from common.errors import InvalidRequest
from pipeline.evaluation.analyses.long_tail import tail_questions, tail_recall
from pipeline.evaluation.analyses.rating_prediction import rating_figures
from pipeline.learning.baselines.methods import BASELINES, Known
from pipeline.learning.item_graphs.purchases import Purchases
from pipeline.measurement.metrics.baseline_result import BaselineFigures, Baselines
from pipeline.measurement.metrics.estimates import Difference, Estimate
from pipeline.measurement.metrics.item_popularity import ItemPopularity
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import Answer, rankings
from pipeline.measurement.questions.protocols import Question, Questions
from pipeline.progress import ProgressReport
from services.ranking.request import UserRows

DECIDES: Final = "ndcg@10"


TAIL: Final = "tail recall@100"


MEASURES: Final = ("ndcg@10", "hr@10", "recall@100")


@dataclass(frozen=True)
class Asked:
    """What one baseline answered.

    Attributes:
        answers: By question.
        fit_s: Seconds that learning took.
        answer_ms: Milliseconds of an answer, the median.
    """

    answers: dict[str, Answer]
    fit_s: float
    answer_ms: float


def ask_baselines(
    questions: Questions,
    facts: ItemPopularity,
    limit: int,
    seed: int,
    report: ProgressReport,
    names: Collection[str] = tuple(BASELINES),
) -> dict[str, Asked]:
    """Fit each baseline to what was known when the questions are asked, and ask it all of them.

    Args:
        questions: The questions.
        facts: The catalogue.
        limit: How many items an answer has.
        seed: Of the factors.
        report: Told of each baseline.
        names: Which baselines.

    Raises:
        InvalidRequest: The questions do not tell what was known before them.
        NotReady: A library that a baseline needs is not installed.
    """
    if questions.before is None:
        raise InvalidRequest("baselines learn from what was known before one moment: use --protocol temporal")
    purchases = Purchases.of(questions.before.events, facts.catalogue, questions.before.moment)
    known = Known(purchases, facts.catalogue, seed)
    found = {}
    for name in names:
        with report.step(f"Asking the baseline: {name}", len(questions.asked)) as step:
            began = time.perf_counter()
            baseline = BASELINES[name](known)
            fit_s, answers = time.perf_counter() - began, {}
            for question in questions.asked:
                asked = time.perf_counter()
                user = UserRows(facts.rows(list(question.history)), question.query)
                best = _best(np.asarray(baseline.scores(user), np.float64), limit)
                ids = [facts.catalogue.item_ids[row] for row in best]
                ms = {"total": (time.perf_counter() - asked) * 1e3}
                answers[question.key] = Answer(ids, np.full(len(ids), np.nan), ms)
                step.advance()
        found[name] = Asked(answers, fit_s, float(np.median([answer.ms["total"] for answer in answers.values()])))
    return found


def compare_baselines(
    questions: Questions, asked: Mapping[str, Asked], two_stages: Mapping[str, Answer], facts: ItemPopularity, seed: int
) -> Baselines:
    """Measure baselines and two stages on the same questions.

    Args:
        questions: The questions.
        asked: What the baselines answered.
        two_stages: What the two stages answered.
        facts: The catalogue.
        seed: Of intervals and tests.
    """
    scores = {name: _scores(questions.asked, given.answers, facts) for name, given in asked.items()}
    own = _scores(questions.asked, two_stages, facts)
    return Baselines(
        best=max(scores, key=lambda name: float(scores[name][DECIDES].mean())),
        tail_questions=len(tail_questions(questions.asked, facts)),
        by_name={
            name: BaselineFigures(
                measures=_estimates(measured, seed),
                two_stages_over={
                    kind: Difference.between(own[kind], values, seed)
                    for kind, values in measured.items()
                    if len(values)
                },
                fit_s=asked[name].fit_s,
                answer_ms=asked[name].answer_ms,
            )
            for name, measured in scores.items()
        },
        two_stages=_estimates(own, seed),
        ratings=None if questions.before is None else rating_figures(questions.before.events, questions.before.later),
    )


def _scores(
    questions: Sequence[Question], answers: Mapping[str, Answer], facts: ItemPopularity
) -> dict[str, Float64Array]:
    relevance = {question.key: question.relevant for question in questions}
    scores = evaluate(rankings({key: answers[key] for key in relevance}), relevance, MEASURES)
    return {**scores, TAIL: tail_recall(questions, answers, facts)}


def _estimates(scores: Mapping[str, Float64Array], seed: int) -> dict[str, Estimate]:
    return {kind: Estimate.of(values, seed) for kind, values in scores.items() if len(values)}


def _best(scores: np.ndarray[tuple[int], np.dtype[np.float64]], limit: int) -> list[int]:
    """Return the rows of the highest scores, ties by row; none where all are alike, for then nothing was said."""
    if not np.ptp(scores):
        return []
    return [int(row) for row in np.argsort(-scores, kind="stable")[:limit]]

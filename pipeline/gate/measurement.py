"""Measures a release for the gate, and the current release on the same requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from common.arrays import Float64Array
from common.release.store import Release
from pipeline.gate.questions import GateQuestions
from pipeline.gate.result import CURRENT, MIN_REQUESTS, GateResult, lost_occasions, occasion_results
from pipeline.measurement.metrics.ranking_metrics import evaluate
from pipeline.measurement.questions.answers import BOTH, MODES, Answer, rankings
from pipeline.measurement.questions.local_runner import local_runner
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressReport, ProgressStep

_MEASURE: Final = "ndcg@10"
_LIMIT: Final = 50  # items of an answer: as many candidates are ranked as the gateway takes by default
# Scores of a softmax: with less between best and worst, the best is hardly more probable than the worst.
MIN_SPREAD: Final = 0.1
_MIN_SCORED: Final = 5  # of a request's candidates


class Runner(Protocol):
    """Answers questions in a mode; see `LocalRunner` and `GatewayRunner`."""

    def answer_questions(
        self, questions: Sequence[Question], mode: str, limit: int, step: ProgressStep
    ) -> dict[str, Answer]:
        """Return the answers by question."""
        ...


def measure(
    runner: Runner,
    questions: GateQuestions,
    report: ProgressReport,
    seed: int,
    current: Mapping[str, Answer] | None = None,
    current_id: str = "",
) -> GateResult:
    """Answer the questions in every mode, and compare.

    Args:
        runner: Answers with the release, whose tables end before the questions.
        questions: The questions.
        report: Shows progress.
        seed: Seed of the intervals.
        current: The current release's answers, if there is one to compare with.
        current_id: Its id.
    """
    asked = questions.all
    answers: dict[str, Mapping[str, Answer]] = {}
    for mode in MODES:
        with report.step(f"Answering {len(asked):,} requests of the gate: {mode}", len(asked)) as step:
            answers[mode] = runner.answer_questions(asked, mode, _LIMIT, step)
    if current is not None:
        answers[CURRENT] = current
    scores = {
        occasion: {system: _ndcg(of_occasion, given) for system, given in answers.items()}
        for occasion, of_occasion in questions.by_occasion.items()
    }
    results = occasion_results(scores, seed)
    spreads = {
        occasion: score_spreads([answers[BOTH][question.key] for question in of_occasion])
        for occasion, of_occasion in questions.by_occasion.items()
    }
    faults = [*lost_occasions(results), *(_collapse(*found) for found in collapsed(spreads))]
    return GateResult(origin=questions.origin, current=current_id, occasions=results, spreads=spreads, faults=faults)


def answer_with(release: Release, questions: GateQuestions, report: ProgressReport) -> dict[str, Answer]:
    """Return the answers of both stages of a release whose tables end before the questions."""
    asked = questions.all
    with (
        local_runner(release) as runner,
        report.step(f"Answering {len(asked):,} requests by the current release", len(asked)) as step,
    ):
        return runner.answer_questions(asked, BOTH, _LIMIT, step)


def score_spreads(answers: Sequence[Answer]) -> dict[str, float]:
    """Return by model the median over requests of the difference between highest and lowest score.

    Requests with fewer than five scored candidates do not count. Models that scored fewer than 30 requests have none.
    """
    spreads: dict[str, list[float]] = {}
    for answer in answers:
        for model, scores in answer.tier_scores.items():
            known = scores[np.isfinite(scores)]
            if len(known) >= _MIN_SCORED:
                spreads.setdefault(model, []).append(float(known.max() - known.min()))
    return {model: float(np.median(values)) for model, values in spreads.items() if len(values) >= MIN_REQUESTS}


def collapsed(spreads: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str, float]]:
    """Return occasion, model and spread wherever the scores hardly vary."""
    return [
        (occasion, model, spread)
        for occasion, of_models in spreads.items()
        for model, spread in of_models.items()
        if spread < MIN_SPREAD
    ]


def _collapse(occasion: str, model: str, spread: float) -> str:
    return (
        f"{occasion}: the {model} has collapsed: its scores of a request's candidates differ by {spread:.3f} (median), "
        f"and at least {MIN_SPREAD} is needed to order them"
    )


def _ndcg(questions: Sequence[Question], answers: Mapping[str, Answer]) -> Float64Array:
    relevance = {question.key: question.relevant for question in questions}
    return evaluate(rankings({key: answers[key] for key in relevance}), relevance, [_MEASURE])[_MEASURE]

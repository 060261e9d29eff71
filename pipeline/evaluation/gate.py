"""The gate of `evaluate`: the comparison that ends a build, of a release or of a running gateway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import Release, open_release
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import weigh_as_stated
from pipeline.data.dataset.training_requests import Windows
from pipeline.evaluation.command import EvaluationData, before_the_questions, dataset_of, questions_of
from pipeline.evaluation.evaluation import EvaluationSettings
from pipeline.gate.measurement import Runner, answer_with, measure
from pipeline.gate.questions import (
    BOTH,
    HISTORY,
    NEW_USER,
    QUERY,
    GateQuestions,
    questions_of_windows,
    with_judged_queries,
)
from pipeline.gate.result import GateResult
from pipeline.measurement.questions.gateway_runner import GatewayRunner
from pipeline.measurement.questions.local_runner import local_runner
from pipeline.measurement.questions.protocols import Question, Questions
from pipeline.progress import ProgressReport


def run_gate(
    store: str, questions_from: EvaluationData, settings: EvaluationSettings, against: str, report: ProgressReport
) -> GateResult:
    """Compare a release, or the gateway that serves it, with its own first stage and with another release.

    Args:
        store: A release or a store.
        questions_from: Where the requests come from.
        settings: How to evaluate.
        against: Another release or store; empty for none.
        report: Shows progress.

    Raises:
        BadRelease: A release cannot be read or served.
        BadDataset: The data cannot be used.
        InvalidRequest: Data and protocol do not fit a release, or tables have the answers.
        NotReady: The gateway does not answer.
    """
    release = open_release(store)
    dataset = None if questions_from.examples is not None else dataset_of(questions_from, report)
    questions = questions_of(release, dataset, questions_from, settings.seed)
    asked = _gate_questions(release, dataset, questions, questions_from.users)
    answers, other = None, open_release(against) if against else None
    if other is not None:
        in_process = EvaluationSettings(seed=settings.seed)
        with before_the_questions(other, dataset, questions, in_process, report) as comparable:
            answers = answer_with(comparable, asked, report)
    with (
        before_the_questions(release, dataset, questions, settings, report) as ready,
        _runner(ready, settings) as runner,
    ):
        return measure(runner, asked, report, settings.seed, answers, other.id if other else "")


@contextmanager
def _runner(release: Release, settings: EvaluationSettings) -> Iterator[Runner]:
    if settings.gateway:
        yield GatewayRunner(settings.gateway, release.id, settings.gateway_security)
        return
    with local_runner(release) as runner:
        yield runner


def _gate_questions(
    release: Release, dataset: Dataset | None, questions: Questions, users: int | None
) -> GateQuestions:
    """Return the build's own requests if the questions are those of its windows, else the questions by occasion."""
    settings = release.manifest.settings
    if questions.event_split is None or dataset is None:
        by_occasion = _by_occasion([*questions.main, *questions.new_users])
        return GateQuestions(by_occasion, None, questions.description)
    known = weigh_as_stated(dataset, settings.get("event_weights", ()))
    windows = Windows.of(known.events, float(settings["window_days"]))
    if windows.test != questions.event_split.time:
        raise InvalidRequest("the windows of the gate and of the questions differ; this should not happen")
    count = users or settings["test_users"]
    asked = questions_of_windows(known, windows, users=count, seed=settings["seed"])
    catalogue = Catalogue.open(release.file(CATALOGUE))
    return with_judged_queries(asked, known.judgements, catalogue, settings["test_users"])


def _by_occasion(questions: Sequence[Question]) -> dict[str, list[Question]]:
    found: dict[str, list[Question]] = {}
    for question in questions:
        found.setdefault(_occasion(question), []).append(question)
    return found


def _occasion(question: Question) -> str:
    if question.query:
        return BOTH if question.history else QUERY
    return HISTORY if question.history else NEW_USER

"""The command `evaluate`: evaluates a release, and writes report and figures."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.errors import InvalidRequest
from common.release.pointer import CURRENT
from common.release.store import Release, open_release
from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import REPORT, Dataset
from pipeline.data.inspection.detection import detect
from pipeline.evaluation.evaluation import EvaluationSettings, evaluate_release
from pipeline.evaluation.report.report import render_report
from pipeline.measurement.metrics.baseline_result import BaselineComparison
from pipeline.measurement.metrics.estimates import Estimate
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.questions.protocols import Questions, make_questions
from pipeline.measurement.questions.question_table import read_questions
from pipeline.progress import ProgressReport
from pipeline.tables.replay import TABLES, reaches_past, replay

EVALUATIONS: Final = "evaluations"
_BASELINE_MEASURES = ("ndcg@10", "recall@100", "tail recall@100")
_MEASURES = ("ndcg@10", "hr@10", "recall@100", "tail share@10")


@dataclass(frozen=True)
class EvaluationData:
    """Where the questions come from.

    Attributes:
        adapter: Name of the data adapter; empty for a prepared dataset.
        data: Raw data, or the dataset's folder.
        protocol: Name of the protocol.
        examples: File of questions, instead of data and protocol.
        users: Maximum number of users or queries.
        dataset: The dataset, if it has been read already.
    """

    adapter: str = ""
    data: Path | None = None
    protocol: str = "temporal"
    examples: Path | None = None
    users: int | None = None
    dataset: Dataset | None = None


def run_evaluation(
    store: str,
    questions_from: EvaluationData,
    settings: EvaluationSettings,
    out: Path | None,
    json: Path | None,
    report: ProgressReport,
) -> Evaluation:
    """Evaluate the release in ``store``, and write report and figures.

    The figures are also written to the folder `evaluations` of the store, if the release is in a writable store. The
    release itself is never changed.

    Args:
        store: A release or a store.
        questions_from: Where the questions come from.
        settings: How to evaluate.
        out: File of the HTML report, if it is to be written.
        json: File of the figures, if it is to be written.
        report: Receives each step and the files written.

    Raises:
        BadRelease: The release cannot be read or served.
        BadDataset: The data cannot be used.
        InvalidRequest: Data and protocol do not fit the release, or the gateway serves tables that have the answers.
        NotReady: The gateway does not answer.
    """
    release = open_release(store)
    dataset = None if questions_from.examples is not None else dataset_of(questions_from, report)
    questions = questions_of(release, dataset, questions_from, settings.seed)
    with before_the_questions(release, dataset, questions, settings, report) as asked:
        evaluation = evaluate_release(asked, questions, settings, report)
    evaluation = evaluation.model_copy(update={"release_id": release.id})
    figures = evaluation.model_dump_json(indent=1) + "\n"
    for file, content in ((json, figures), (out, render_report(evaluation))):
        if file is not None:
            _write(file, content, report)
    in_store = _file_in_store(release, evaluation.protocol)
    if in_store is not None:
        try:
            _write(in_store, figures, report)
        except OSError as error:
            report.console.print(f"The figures cannot be written to the store: {error}")
    return evaluation


def _file_in_store(release: Release, protocol: str) -> Path | None:
    """Return the file of a release's figures in its store; None if it is in no store, such as a downloaded copy."""
    store = release.path.parent
    return store / EVALUATIONS / release.id / f"{protocol}.json" if (store / CURRENT).exists() else None


def _write(file: Path, content: str, report: ProgressReport) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    report.console.print(f"Written: {file}")


def show(evaluation: Evaluation, console: Console) -> None:
    """Print the main figures."""
    table = Table(
        title=f"Release {evaluation.release_id}: {evaluation.description}",
        caption="mean [95 % bootstrap interval]; differences are paired, p by sign flips",
    )
    for column in ("", *_MEASURES, "coverage@10", "median ms"):
        table.add_column(column, justify="left" if not column else "right")
    for name, mode in evaluation.modes.items():
        figures = [_text(mode.measures[measure]) for measure in _MEASURES]
        table.add_row(name, *figures, f"{mode.coverage:.3f}", f"{mode.latency['total'].p50:.1f}")
    console.print(table)
    if evaluation.baselines is not None:
        console.print(_baselines(evaluation.baselines))
    for note in evaluation.notes:
        console.print(f"[dim]{note}[/]")


def _baselines(comparison: BaselineComparison) -> Table:
    table = Table(
        title="Single methods on the same questions", caption="two stages minus the method: paired, p by sign flips"
    )
    for column in ("", "ndcg@10", "recall@100", "tail recall@100", "two stages minus it: ndcg@10"):
        table.add_column(column, justify="left" if not column else "right")
    for name, figures in comparison.by_name.items():
        over = figures.two_stages_over["ndcg@10"]
        cells = [f"{figures.measures[kind].mean:.4f}" for kind in _BASELINE_MEASURES if kind in figures.measures]
        difference = f"{over.mean:+.4f} [{over.low:+.4f}, {over.high:+.4f}], p {over.p:.4f}"
        table.add_row(
            f"{name} (best)" if name == comparison.best else name, *cells, *[""] * (3 - len(cells)), difference
        )
    return table


def questions_of(release: Release, dataset: Dataset | None, questions_from: EvaluationData, seed: int) -> Questions:
    """Return the questions for a release, with notes of what it may have seen of them."""
    if questions_from.examples is not None:
        return read_questions(questions_from.examples, questions_from.users, seed)
    if dataset is None:
        raise InvalidRequest("there is neither data nor a file of questions")
    manifest = release.manifest
    questions = make_questions(
        dataset, manifest.settings, questions_from.protocol, users=questions_from.users, seed=seed
    )
    notes = list(questions.notes)
    if dataset.fingerprint() != manifest.data.fingerprint:
        notes.append("The release was built from other data, so it may have seen the relevant items.")
    if questions.event_split is not None:
        time = questions.event_split.time
        models = sorted(manifest.learned_until.keys() - {TABLES})
        late = [model for model in models if reaches_past(manifest, model, time)]
        notes += [f"Learned also from events after the questions: {', '.join(late)}."] if late else []
    return dataclasses.replace(questions, notes=notes)


@contextmanager
def before_the_questions(
    release: Release,
    dataset: Dataset | None,
    questions: Questions,
    settings: EvaluationSettings,
    report: ProgressReport,
) -> Iterator[Release]:
    """Yield the release if its tables end before the questions, else a replay of it whose tables do."""
    split = questions.event_split
    if dataset is None or split is None or not reaches_past(release.manifest, TABLES, split.time):
        yield release
        return
    if settings.gateway:
        until = release.manifest.learned_until[TABLES]
        raise InvalidRequest(
            f"the tables of the gateway's release {release.id} count the answers too, up to {until}: serve "
            f"what `python -m pipeline replay --until {split.time.isoformat()}` writes, or leave out --gateway"
        )
    with tempfile.TemporaryDirectory() as folder:
        yield replay(release, dataset, split.time, Path(folder) / "release", report)


def dataset_of(questions_from: EvaluationData, report: ProgressReport) -> Dataset:
    """Return the dataset that the questions come from; raises InvalidRequest if none is named."""
    if questions_from.dataset is not None:
        return questions_from.dataset
    if questions_from.adapter:
        with report.step(f"Preparing {questions_from.adapter}"):
            return prepare(questions_from.adapter, questions_from.data)
    if questions_from.data is None:
        raise InvalidRequest(
            "name the data to evaluate on: --source with --data, --data with raw data or a dataset, or --examples"
        )
    with report.step("Reading the dataset"):
        if (questions_from.data / REPORT).exists():
            return Dataset.load(questions_from.data)
        found = detect(questions_from.data)
        report.console.print(escape(found.sentence), highlight=False)
        return found.prepare(lambda _: None)


def _text(estimate: Estimate) -> str:
    return f"{estimate.mean:.4f} [{estimate.low:.3f}, {estimate.high:.3f}]"

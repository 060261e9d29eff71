"""The command `evaluate`: finds release and data, asks, measures, and writes report and figures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from common.errors import InvalidRequest
from common.release.store import CURRENT, Release, open_release
from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.evaluation.evaluation import EvaluationSettings, evaluate_release
from pipeline.evaluation.report.report import render_report
from pipeline.measurement.metrics.baseline_result import Baselines
from pipeline.measurement.metrics.estimates import Estimate
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.questions.protocols import Questions, given_questions, make_questions
from pipeline.progress import ProgressReport

EVALUATIONS: Final = "evaluations"


_BESIDE = ("ndcg@10", "recall@100", "tail recall@100")


_SHOWN = ("ndcg@10", "hr@10", "recall@100", "tail share@10")


@dataclass(frozen=True)
class EvaluationData:
    """What the questions are made of.

    Attributes:
        source: Kind of raw data; empty for a prepared dataset.
        data: Raw data, or the dataset's folder.
        protocol: How the questions are made.
        examples: A file of questions, in place of data and protocol.
        users: How many users or queries to ask for at most.
    """

    source: str = ""
    data: Path | None = None
    protocol: str = "temporal"
    examples: Path | None = None
    users: int | None = None


def run_evaluation(
    store: str,
    where: EvaluationData,
    how: EvaluationSettings,
    out: Path | None,
    json: Path | None,
    report: ProgressReport,
) -> Evaluation:
    """Evaluate the release in ``store``, and write what was asked for.

    The figures are always written beside the release too, where it lies in a store that can be written to: a release
    itself is never changed.

    Args:
        store: A release or a store.
        where: What the questions are made of.
        how: How to evaluate.
        out: The HTML report's file, None for none.
        json: The figures' file, None for none.
        report: Told of each step, and of the files.

    Raises:
        BadRelease, BadDataset, InvalidRequest, NotReady: As their parts do.
    """
    release = open_release(store)
    questions = _questions(release, where, how.seed, report)
    found = evaluate_release(release, questions, how, report)
    figures = found.model_dump_json(indent=1) + "\n"
    for file, content in ((json, figures), (out, render_report(found))):
        if file is not None:
            _write(file, content, report)
    beside = _beside(release, found.protocol)
    if beside is not None:
        try:
            _write(beside, figures, report)
        except OSError as error:
            report.console.print(f"The figures cannot be kept with the release: {error}")
    return found


def _beside(release: Release, protocol: str) -> Path | None:
    """Return where the figures of a release lie in its store; None where it lies in none, such as a copy of a URL."""
    store = release.path.parent
    return store / EVALUATIONS / release.id / f"{protocol}.json" if (store / CURRENT).exists() else None


def _write(file: Path, content: str, report: ProgressReport) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    report.console.print(f"Written: {file}")


def show(found: Evaluation, console: Console) -> None:
    """Print the main figures."""
    table = Table(
        title=f"Release {found.release_id}: {found.description}",
        caption="mean [95 % bootstrap interval]; differences are paired, p by sign flips",
    )
    for column in ("", *_SHOWN, "coverage@10", "median ms"):
        table.add_column(column, justify="left" if not column else "right")
    for name, mode in found.modes.items():
        figures = [_text(mode.measures[measure]) for measure in _SHOWN]
        table.add_row(name, *figures, f"{mode.coverage:.3f}", f"{mode.latency['total'].p50:.1f}")
    console.print(table)
    if found.baselines is not None:
        console.print(_baselines(found.baselines))
    for note in found.notes:
        console.print(f"[dim]{note}[/]")


def _baselines(given: Baselines) -> Table:
    table = Table(title="Single methods, asked the same", caption="two stages over it: paired, p by sign flips")
    for column in ("", "ndcg@10", "recall@100", "tail recall@100", "two stages over it: ndcg@10"):
        table.add_column(column, justify="left" if not column else "right")
    for name, figures in given.by_name.items():
        over = figures.two_stages_over["ndcg@10"]
        cells = [f"{figures.measures[kind].mean:.4f}" for kind in _BESIDE if kind in figures.measures]
        compared = f"{over.mean:+.4f} [{over.low:+.4f}, {over.high:+.4f}], p {over.p:.4f}"
        table.add_row(f"{name} (best)" if name == given.best else name, *cells, *[""] * (3 - len(cells)), compared)
    return table


def _questions(release: Release, where: EvaluationData, seed: int, report: ProgressReport) -> Questions:
    if where.examples is not None:
        return given_questions(where.examples, where.users, seed)
    dataset = _dataset(where, report)
    settings = release.manifest.settings
    questions = make_questions(dataset, settings, where.protocol, users=where.users, seed=seed)
    if dataset.fingerprint() == release.manifest.data.fingerprint:
        return questions
    note = "The release was built from other data: whether it has seen the answers can't be told."
    return dataclasses.replace(questions, notes=[*questions.notes, note])


def _dataset(where: EvaluationData, report: ProgressReport) -> Dataset:
    if where.source:
        with report.step(f"Preparing {where.source}"):
            return prepare(where.source, where.data)
    if where.data is None:
        raise InvalidRequest("name what to measure on: --source and --data, --data with a dataset, or --examples")
    with report.step("Reading the dataset"):
        return Dataset.load(where.data)


def _text(estimate: Estimate) -> str:
    return f"{estimate.mean:.4f} [{estimate.low:.3f}, {estimate.high:.3f}]"

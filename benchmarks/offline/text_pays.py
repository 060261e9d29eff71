"""Do the text tiers pay? Complete Journey: two stages with them against two stages without, on the same requests.

Two builds of the same data differ in the tiers that they may have: late interaction, planned, and none. Both are asked
for users held out, with tables that end at the test's beginning, and the searches as people type them that nothing was
learned from. Searches for new items are those of users who then bought what nobody had bought before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.harness.record import Result, Threshold, at_least
from common.release.store import Release
from pipeline.build.builder import build
from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import Windows
from pipeline.gate.measurement import answer_with, measure
from pipeline.gate.questions import JUDGED, NEW_ITEMS, GateQuestions, questions_of_windows
from pipeline.gate.result import CURRENT, GateResult, OccasionResult, gate_table
from pipeline.measurement.questions.answers import FIRST
from pipeline.measurement.questions.local_runner import local_runner
from pipeline.measurement.questions.protocols import typed_questions
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.tables.replay import replay

_WITH: Final = Path("releases/complete-journey-text")
_WITHOUT: Final = Path("releases/complete-journey-no-text")
_LATE_BITS: Final = 8
_QUICK: Final = 20
_PAYS: Final = (JUDGED, NEW_ITEMS)


def run(quick: bool, console: Console) -> Result:
    """Build or reuse both releases and compare them; quick takes fewer requests."""
    report, settings = ProgressReport(console), BuildSettings()
    with report.step("Preparing complete-journey"):
        dataset = prepare("complete-journey", None)
    text = build(dataset, _WITH, dataclasses.replace(settings, late_bits=_LATE_BITS), report, force=True)
    plain = build(dataset, _WITHOUT, dataclasses.replace(settings, cross_encoder_depth=0), report, force=True)
    found = compare(text, plain, dataset, report, _QUICK if quick else None)
    plan = text.manifest.metrics.get("tiers", {})
    planned = sorted(set(text.manifest.models) & {"cross_encoder", "late_interaction"})
    figures = {
        "tiers in the release": planned,
        "plan": plan,
        "build_s": {name: one.manifest.metrics["build_s"] for name, one in (("text", text), ("plain", plain))},
        **found.model_dump(),
    }
    return Result(figures, _thresholds(found.occasions), [gate_table(found), _tiers_table(planned)])


def compare(
    text: Release, plain: Release, dataset: Dataset, report: ProgressReport, count: int | None = None
) -> GateResult:
    """Compare a release with text tiers and one without, which stands as the current one.

    Args:
        text: The release with text tiers.
        plain: The release without.
        dataset: The data of both.
        report: Shows progress.
        count: Requests of each occasion at most; None for all.
    """
    questions = _questions(text, dataset, count)
    time = questions.time
    if time is None:
        raise ValueError("the questions of windows have a time")
    text, plain = (
        replay(one, dataset, time, one.path.parent / ".services" / "replay", report) for one in (text, plain)
    )
    answers = answer_with(plain, questions, report)
    with local_runner(text) as runner:
        return measure(runner, questions, report, int(text.manifest.settings["seed"]), answers, plain.id)


def _questions(release: Release, dataset: Dataset, count: int | None) -> GateQuestions:
    settings = release.manifest.settings
    windows = Windows.of(dataset.events, float(settings["window_days"]))
    asked = questions_of_windows(dataset, windows, users=int(settings["test_users"]), seed=int(settings["seed"]))
    typed = typed_questions(dataset.items, "held-out").main
    by_occasion = {**asked.by_occasion, JUDGED: typed}
    return dataclasses.replace(asked, by_occasion={name: part[:count] for name, part in by_occasion.items()})


def _thresholds(occasions: Mapping[str, OccasionResult]) -> list[Threshold]:
    held = []
    for name, one in occasions.items():
        over = one.over[CURRENT]
        if name in _PAYS:
            held.append(at_least(f"{name}: NDCG@10 over two stages without text tiers, lower end", 0.0, over.low))
        else:
            held.append(at_least(f"{name}: NDCG@10 over two stages without text tiers, upper end", 0.0, over.high))
    first = occasions[JUDGED].over[FIRST].low if JUDGED in occasions else float("nan")
    return [*held, at_least(f"{JUDGED}: NDCG@10 over the first stage, lower end", 0.0, first)]


def _tiers_table(planned: list[str]) -> Table:
    table = Table(title="Text tiers that the plan keeps")
    table.add_column("tier")
    for name in planned or ["none"]:
        table.add_row(name)
    return table

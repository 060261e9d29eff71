"""The gate of a build."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from common.release.layout import RANKER_SETTINGS
from common.release.pointer import CURRENT
from common.release.store import open_release
from pipeline.build.builder import build
from pipeline.build.completion import gate
from pipeline.build.completion.gate import is_refused
from pipeline.data.dataset.dataset import Dataset
from pipeline.gate.questions import HISTORY
from pipeline.gate.result import CURRENT as CURRENT_RELEASE
from pipeline.gate.result import GateResult
from pipeline.measurement.questions.answers import BOTH, CROSS_ENCODER, FIRST, POPULAR
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=200)


@pytest.fixture
def report(console: Console) -> ProgressReport:
    return ProgressReport(console)


def refuse(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let every measurement of the gate have these findings too."""
    measure = gate.measure

    def found(*arguments: Any) -> GateResult:
        return measure(*arguments).model_copy(update=changes)

    monkeypatch.setattr(gate, "measure", found)


def test_each_build_ends_with_the_comparison(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path: Path, console: Console, report: ProgressReport
):
    """The second release is compared with the first, on the same requests, and equals it where nothing differs."""
    first = build(tiny_dataset, tmp_path, tiny_settings, report)
    assert first.manifest.metrics["gate"]["current"] == ""
    second = build(tiny_dataset, tmp_path, dataclasses.replace(tiny_settings, hnsw_m=17), report)
    found = GateResult.model_validate(second.manifest.metrics["gate"])
    assert found.current == first.id != second.id
    assert {POPULAR, FIRST, BOTH, CURRENT_RELEASE} == found.occasions[HISTORY].ndcg.keys()
    assert all(one.over[CURRENT_RELEASE].mean == 0.0 for one in found.occasions.values())
    assert open_release(str(tmp_path)).id == second.id
    assert "over current release" in console.export_text()


def test_a_refused_release_is_stored_and_not_served(
    tiny_dataset: Dataset,
    tiny_settings: BuildSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    console: Console,
    report: ProgressReport,
):
    """It does not become the current one, is not built again, and is forced without another build."""
    refuse(monkeypatch, faults=["history: two stages lose"])
    refused = build(tiny_dataset, tmp_path, tiny_settings, report)
    assert is_refused(refused)
    assert not (tmp_path / CURRENT).exists()
    assert open_release(str(refused.path)).id == refused.id
    assert "refused: history: two stages lose" in console.export_text()
    report.seconds.clear()
    assert is_refused(build(tiny_dataset, tmp_path, tiny_settings, report))
    assert not (tmp_path / CURRENT).exists()
    forced = build(tiny_dataset, tmp_path, tiny_settings, report, force=True)
    assert forced.id == refused.id == open_release(str(tmp_path)).id
    assert report.seconds == {}


def test_a_tier_that_has_collapsed_is_left_out(
    tiny_dataset: Dataset,
    tiny_settings: BuildSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    console: Console,
    report: ProgressReport,
):
    """Where its scores hardly vary the plan gives it no candidate, and the build says so."""
    refuse(monkeypatch, spreads={HISTORY: {CROSS_ENCODER: 0.01}})
    release = build(tiny_dataset, tmp_path, tiny_settings, report)
    plan = json.loads(release.file(RANKER_SETTINGS).read_text())["plan"]
    assert plan["history"]["cross_encoder"] == 0
    assert "history: the scores of the cross-encoder differ by 0.010" in console.export_text()


def test_a_current_release_that_cannot_be_compared_is_named(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path: Path, report: ProgressReport
):
    """One that learned from the gate's own weeks has an advantage, and one of another shop says nothing."""
    build(tiny_dataset, tmp_path, dataclasses.replace(tiny_settings, window_days=3), report)
    later = build(tiny_dataset, tmp_path, tiny_settings, report)
    assert "learned from events that the gate asks for" in later.manifest.metrics["gate"]["notes"][0]
    other = tiny_dataset.report.model_copy(update={"source": "another shop"})
    moved = Dataset(tiny_dataset.items, tiny_dataset.events, None, other)
    assert "of other data" in build(moved, tmp_path, tiny_settings, report).manifest.metrics["gate"]["notes"][0]

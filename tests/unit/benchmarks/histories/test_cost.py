"""The cost of a request by text ranker."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.histories import cost
from benchmarks.histories.models import HistoryModels
from benchmarks.histories.requests import TrainingSplit
from benchmarks.histories.scores import HistoryLateInteraction
from pipeline.progress import ProgressReport


def test_every_ranker_is_timed_on_long_histories(
    models: HistoryModels,
    few: TrainingSplit,
    cross_encoder: Path,
    tower: Path,
    quiet: ProgressReport,
    monkeypatch: pytest.MonkeyPatch,
):
    """Both bit widths of late interaction and both precisions of the cross-encoder are timed."""
    monkeypatch.setattr(cost, "LONG_CONTEXT", 4)
    late = HistoryLateInteraction.read(tower, models, quiet)
    ms = cost.cost_ms(few.fusions, cross_encoder, late, 2, quiet)
    assert set(ms) == {
        "late interaction, 8 bits",
        "late interaction, 4 bits",
        "cross-encoder, int8",
        "cross-encoder, float32",
    }
    assert all(took > 0 for took in ms.values())

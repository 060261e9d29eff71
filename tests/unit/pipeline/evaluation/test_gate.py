"""The gate of `evaluate`."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from common.release.store import open_release
from pipeline.data.dataset.dataset import Dataset
from pipeline.evaluation.command import EvaluationData
from pipeline.evaluation.evaluation import EvaluationSettings
from pipeline.evaluation.gate import run_gate
from pipeline.gate.questions import BOTH, HISTORY, NEW_USER, QUERY
from pipeline.gate.result import CURRENT
from pipeline.progress import ProgressReport

QUIET = ProgressReport(Console(quiet=True))


def test_it_is_the_comparison_that_ends_the_build(tiny_release: Path, tiny_dataset: Dataset):
    """The same requests have the same figures, and a release against itself loses nothing."""
    release = open_release(str(tiny_release))
    asked = EvaluationData(dataset=tiny_dataset)
    found = run_gate(str(tiny_release), asked, EvaluationSettings(), str(tiny_release), QUIET)
    built = release.manifest.metrics["gate"]
    for occasion, one in found.occasions.items():
        assert one.ndcg["two stages"].mean == pytest.approx(built["occasions"][occasion]["ndcg"]["two stages"]["mean"])
        assert one.over[CURRENT].mean == 0.0
    assert found.current == release.id
    assert found.faults == built["faults"]


def test_other_questions_are_compared_by_occasion(tiny_release: Path, tiny_dataset: Dataset):
    """Without windows, the protocol's questions are those of the gate."""
    asked = EvaluationData(dataset=tiny_dataset, protocol="leave-last-out", users=5)
    found = run_gate(str(tiny_release), asked, EvaluationSettings(), "", QUIET)
    assert list(found.occasions) == [HISTORY]
    assert found.occasions[HISTORY].requests == 5
    assert {BOTH, QUERY, NEW_USER}.isdisjoint(found.occasions)

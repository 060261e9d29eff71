"""The tiny shop's release with its engines, questions to it, and an evaluation of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from common.release import Release, open_release
from pipeline.dataset import Dataset
from pipeline.evaluation.engines import Engines, engines
from pipeline.evaluation.evaluation import How, evaluate_release
from pipeline.evaluation.facts import CatalogueFacts
from pipeline.evaluation.questions import Questions, make_questions
from pipeline.evaluation.result import Evaluation
from pipeline.progress import ProgressReport


@pytest.fixture(scope="session")
def quiet() -> ProgressReport:
    return ProgressReport(Console(quiet=True))


@pytest.fixture(scope="session")
def release(tiny_release: Path) -> Release:
    return open_release(str(tiny_release))


@pytest.fixture(scope="session")
def facts(release: Release) -> CatalogueFacts:
    return CatalogueFacts.load(release)


@pytest.fixture(scope="session")
def local(release: Release) -> Iterator[Engines]:
    """Return the engines of the tiny shop's release."""
    with engines(release) as found:
        yield found


@pytest.fixture(scope="session")
def temporal(release: Release, tiny_dataset: Dataset) -> Questions:
    """Return what the tiny shop's people held out did in the last window."""
    return make_questions(tiny_dataset, release.manifest.settings, "temporal", people=None, seed=7)


@pytest.fixture(scope="session")
def evaluation(release: Release, temporal: Questions, quiet: ProgressReport) -> Evaluation:
    """Return the evaluation of the tiny shop's release, with folds."""
    return evaluate_release(release, temporal, How(limit=20, folds=3, threshold=0.1), quiet)

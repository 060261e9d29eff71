"""What reports of datasets count."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.data.dataset.dataset import Dataset

LeftOut = Callable[[Dataset, str], dict[str, int]]


@pytest.fixture
def left_out() -> LeftOut:
    """Return the counts of the reasons that left out any row of a table."""

    def counts(dataset: Dataset, table: str) -> dict[str, int]:
        return {reason: part.rows for reason, part in dataset.report.tables[table].dropped.items() if part.rows}

    return counts

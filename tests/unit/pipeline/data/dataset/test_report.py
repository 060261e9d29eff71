"""The data report adds up, and shows every reason."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from rich.console import Console

from pipeline.data.dataset.report import DataReport, Dropped, TableReport, render


def test_a_report_whose_sums_disagree_is_refused():
    """Rows in must be rows out plus rows dropped."""
    with pytest.raises(ValidationError, match="10 rows in, but 7 out and 2 dropped"):
        TableReport(rows_in=10, rows_out=7, dropped={"x": Dropped(rows=2, why="Because.")})


def test_the_rendered_report_shows_reasons_counts_and_missing_cells():
    """Each reason stands with its sentence, and empty cells are counted by column."""
    part = TableReport(
        rows_in=1_010, rows_out=1_000, dropped={"no_id": Dropped(rows=10, why="No id.")}, missing={"price": 7}
    )
    report = DataReport(source="shop", licence="CC0", tables={"items": part}, notes=["A note."])
    console = Console(width=120, record=True, quiet=True)
    with console.capture() as shown:
        console.quiet = False
        console.print(render(report))
    for words in ("shop", "1,010", "-10", "no_id: No id.", "1,000", "of these without price", "A note.", "CC0"):
        assert words in shown.get()

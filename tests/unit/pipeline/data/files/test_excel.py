"""Excel workbooks are read as any other table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.tables import read_raw_table, read_table
from pipeline.data.ingest.times import read_times

Write = Callable[..., Path]


WHEN = datetime(2010, 12, 1, 8, 26)  # noqa: DTZ001 - Excel has no zone


def test_cells_are_text_where_nothing_is_recognised(write_workbook: Write, tmp_path: Path):
    """Numbers lose nothing and gain no point, codes in numbers read as those in text, dates are ISO; empty is null."""
    rows = [["code", "price", "when"], ["85123A", 2.55, WHEN], [84406, 3, None], [None, 0.1, "soon"]]
    file = write_workbook(tmp_path / "a.xlsx", {"Sheet1": rows})
    frame = read_table(file, {name: name for name in ("code", "price", "when")}, infer=False)
    assert frame.rows() == [
        ("85123A", "2.55", "2010-12-01 08:26:00"),
        ("84406", "3", None),
        (None, "0.1", "soon"),
    ]
    assert read_raw_table(file).frame.columns == ["code", "price", "when"]


def test_types_are_recognised(write_workbook: Write, tmp_path: Path):
    """A column of numbers is numeric and one of dates has times, whatever the first rows hold."""
    rows: list[list[object]] = [["n", "when"], *([None, None] for _ in range(3)), [1.5, WHEN]]
    frame = read_table(write_workbook(tmp_path / "a.xlsx", {"S": rows}), {"n": "n", "when": "when"})
    assert frame.filter(pl.col("n").is_not_null()).rows() == [(1.5, WHEN)]
    assert frame.schema["n"] == pl.Float64


def test_every_minute_of_a_day_is_read_as_it_was(write_workbook: Write, tmp_path: Path):
    """A time is a fraction of a day in the file: rounding moves none to another second."""
    times = [WHEN + minute * timedelta(minutes=1) for minute in range(1440)]
    file = write_workbook(tmp_path / "a.xlsx", {"S": [["when"], *([time] for time in times)]})
    assert read_times(read_table(file, {"when": "when"}, infer=False)["when"]).times.to_list() == times


def test_sheets_come_one_below_the_other(write_workbook: Write, tmp_path: Path):
    """Sheets of the same columns are one table; empty ones are left out."""
    sheets = {"2009": [["a", "b"], ["x", 1]], "Sheet3": [], "2010": [["a", "b"], ["y", 2]]}
    file = write_workbook(tmp_path / "a.xlsx", sheets)
    assert read_table(file, {"a": "a", "b": "b"}).rows() == [("x", 1.0), ("y", 2.0)]


@pytest.mark.parametrize(
    ("sheets", "said"),
    [
        ({"A": [["a"], ["x"]], "Notes": [["b"], ["y"]]}, "sheet 'Notes' has the columns b, and 'A' has a"),
        ({"A": [], "B": []}, "no sheet whose first row names columns"),
        ({"A": [["b"], ["x"]]}, r"a\.xlsx lacks the column 'a'; the columns found are b"),
    ],
)
def test_sheets_that_are_no_table_are_refused(write_workbook: Write, tmp_path: Path, sheets: object, said: str):
    """The message names the file, the sheet and the columns."""
    with pytest.raises(BadDataset, match=said):
        read_table(write_workbook(tmp_path / "a.xlsx", sheets), {"a": "a"})


def test_what_is_no_workbook_is_refused(tmp_path: Path):
    """A file of another kind under the name of a workbook is told in one line."""
    (tmp_path / "a.xlsx").write_text("InvoiceNo,StockCode")
    with pytest.raises(BadDataset, match=r"a\.xlsx cannot be read as xlsx: .*Zip") as refused:
        read_raw_table(tmp_path / "a.xlsx")
    assert "\n" not in str(refused.value)


def test_numbers_of_one_sheet_meet_text_of_another(write_workbook: Write, tmp_path: Path):
    """Whole numbers become text without a fraction, as they do in one sheet."""
    sheets = {"A": [["id", "title"], ["x", "a"]], "B": [["id", "title"], [2, "b"]]}
    frame = read_table(write_workbook(tmp_path / "a.xlsx", sheets), {"id": "id"})
    assert frame["id"].to_list() == ["x", "2"]


def test_a_column_that_is_named_twice_is_refused(write_workbook: Write, tmp_path: Path):
    """Which of the two is meant cannot be told."""
    file = write_workbook(tmp_path / "a.xlsx", {"S": [["id", "title", "id"], [1, "a", 2]]})
    with pytest.raises(BadDataset, match=r"sheet 'S', row 1: the column 'id' is named 2 times; rename one"):
        read_raw_table(file)


def test_titles_above_the_heading_are_left_out_and_noted(write_workbook: Write, tmp_path: Path):
    """Reports begin with a title; a column without a name is left out too."""
    rows = [["Orders of 2024", None, None], [None] * 3, ["id", "title", "price", None], [1, "a", 2.5, "x"]]
    table = read_raw_table(write_workbook(tmp_path / "a.xlsx", {"S": rows}))
    assert table.frame.rows(named=True) == [{"id": 1.0, "title": "a", "price": 2.5}]
    assert table.notes[0].sentences() == ["a.xlsx: 2 lines before the heading were left out."]

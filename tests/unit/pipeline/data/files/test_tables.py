"""Times are read from whatever a file holds them as."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.tables import only_table, read_raw_table, read_table
from pipeline.data.ingest.times import read_times

MOMENT = datetime(2010, 12, 1, 8, 26)  # noqa: DTZ001 - datasets have no zone


@pytest.mark.parametrize(
    "values",
    [
        ["2010-12-01 08:26:00"],
        ["2010-12-01T08:26:00"],
        [" 2010-12-01T08:26:00Z "],
        ["2010-12-01T10:26:00+02:00"],
        ["12/1/2010 8:26"],
        ["1.12.2010 8:26"],
        [1_291_191_960],
        [1_291_191_960_000],
        [MOMENT],
        [MOMENT.replace(tzinfo=UTC)],
    ],
)
def test_one_moment_is_read_from_many_forms(values: list[object]):
    """Text in usual forms, seconds, milliseconds and zoned times all mean the same moment."""
    assert read_times(pl.Series(values)).times.to_list() == [MOMENT]


def test_days_before_months_are_told_apart_by_the_rest_of_the_column():
    """1/12/2010 is December where another cell holds a 13th day in the first place."""
    assert read_times(pl.Series(["1/12/2010 8:26", "13/12/2010 8:26"])).times.to_list() == [
        MOMENT,
        MOMENT.replace(day=13),
    ]


def test_dates_become_midnights_and_what_is_no_time_null():
    """A date begins at midnight; an unreadable cell is left for the caller to count."""
    midnight = MOMENT.replace(hour=0, minute=0)
    assert read_times(pl.Series([date(2010, 12, 1)])).times.to_list() == [midnight]
    assert read_times(pl.Series(["2010-12-01 08:26:00", "soon"])).times.to_list() == [MOMENT, None]


def test_a_column_of_flags_is_no_time():
    """Cells that cannot be a time are unreadable, each of them."""
    read = read_times(pl.Series("at", [True, None]))
    assert read.times.to_list() == [None, None]
    assert read.unreadable.to_list() == [True, False]


def test_a_folder_with_more_than_one_table_is_ambiguous(tmp_path: Path):
    """The message lists the tables found."""
    (tmp_path / "a.csv").touch()
    assert only_table(tmp_path) == tmp_path / "a.csv"
    (tmp_path / "b.csv").touch()
    with pytest.raises(BadDataset, match=r"should hold one table.*found a\.csv, b\.csv"):
        only_table(tmp_path)


def test_iso_times_of_several_kinds_may_share_a_column():
    """Days without a time, times with an offset and times in UTC are all read, the offset taken off."""
    cells = ["2026-01-02", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+01:00", "2026-01-02 03:04", "soon"]
    times = read_times(pl.Series("at", cells)).times
    assert [time and time.isoformat() for time in times] == [
        "2026-01-02T00:00:00",
        "2026-01-02T03:04:05",
        "2026-01-02T02:04:05",
        "2026-01-02T03:04:00",
        None,
    ]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_columns_that_are_read_by_name_keep_their_lists(tmp_path: Path, name: str):
    """A history in a cell is a list of ids, not text."""
    frame = pl.DataFrame({"user_id": ["u", "v"], "history": [["a"], ["a", "b"]]})
    (frame.write_parquet if name.endswith("parquet") else frame.write_ndjson)(tmp_path / name)
    assert read_table(tmp_path / name, {"past": "history"})["past"].to_list() == [["a"], ["a", "b"]]


def test_parts_without_a_heading_are_refused(tmp_path: Path):
    """Their first row would be taken for one, and the others would fit no column."""
    (tmp_path / "1.csv").write_text("id,title\n1,a\n")
    (tmp_path / "2.csv").write_text("2,b\n3,c\n")
    with pytest.raises(BadDataset, match=r"2\.csv, line 1: no column is one of 1\.csv .*begin each part with"):
        read_raw_table(tmp_path)


def test_partitions_without_a_value_are_empty_cells(tmp_path: Path):
    """Hive has a word for them; other values are unquoted."""
    for place in ("kind=a%20b", "kind=__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "1.csv").write_text("id,title\n1,a\n")
    assert set(read_raw_table(tmp_path).frame["kind"]) == {None, "a b"}


def test_long_decimals_and_names_with_spaces(tmp_path: Path):
    """A decimal without a fraction keeps every digit, and names of columns lose the space around them."""
    decimals = pl.Series(["12345678901234567890", "7"]).cast(pl.Decimal(38, 0))
    pl.DataFrame({" id ": decimals}).write_parquet(tmp_path / "a.parquet")
    frame = read_raw_table(tmp_path / "a.parquet").frame
    assert (frame.columns, frame.rows()) == (["id"], [("12345678901234567890",), ("7",)])


def test_an_encoding_that_was_declared_is_no_news(tmp_path: Path):
    """Only one that was found is told, so that a wrong guess is seen."""
    (tmp_path / "a.csv").write_bytes("title\nM\u00fcsli und K\u00e4se\n".encode("cp1252"))
    told = [read_raw_table(tmp_path / "a.csv", encoding).notes[0].sentences() for encoding in (None, "cp1252")]
    assert ["was read as cp1252" in "".join(sentences) for sentences in told] == [True, False]

"""Times as people, locales and programs spell them."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from pipeline.data.ingest.time_spellings import MONTH_NUMBERS, is_rounded, respelled
from pipeline.data.ingest.times import read_times

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "cell",
    [
        "2024-03-01 11:00 CET",
        "2024-03-01 19:00 KST",
        "2024-03-01 05:00:00 EST",
        "2024-03-01T11:00+01:00[Europe/Paris]",
        "Fri Mar 01 2024 11:00:00 GMT+0100 (Central European Standard Time)",
        "Fri Mar  1 10:00:00 UTC 2024",
        "Fri Mar  1 10:00:00 2024",
        "01/Mar/2024:11:00:00 +0100",
        "2024-03-01 11:00:00 UTC+1",
        "March 1st, 2024 10am",
        "March 1, 2024 at 10:00 AM",
        "1 de marzo de 2024 10:00",
        "1. März 2024, 10.00",
        "1er février 2024 10h00",
        "10:00 01.03.2024",
        "2024-03-01_10:00:00",
        "2024 03 01 10:00",
        "'2024-03-01 10:00",
        "2024年3月1日 上午10:00",
        "2024년 3월 1일 오전 10:00",
        "2024. 3. 1. 오전 10:00",
        "٢٠٢٤-٠٣-٠١ ١٠:٠٠",
        "2024年3月1日10時00分",
    ],
)
def test_each_spelling_of_one_moment(cell: str):
    """Ten in the morning of 1 March 2024 in UTC, or where the cell names no zone; of February in French."""
    month = 2 if "février" in cell else 3
    assert read_times(pl.Series([cell]), "day first", NOW).times.to_list() == [datetime(2024, month, 1, 10)]  # noqa: DTZ001


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("1st March 2024", datetime(2024, 3, 1)),  # noqa: DTZ001 - without zone
        ("2024年3月1日 下午3:05", datetime(2024, 3, 1, 15, 5)),  # noqa: DTZ001
        ("2024年3月1日 中午12:30", datetime(2024, 3, 1, 12, 30)),  # noqa: DTZ001
        ("1.7e9", datetime(2023, 11, 14, 22, 13, 20)),  # noqa: DTZ001
    ],
)
def test_other_moments(cell: str, expected: datetime):
    """Ordinals, afternoons and powers of ten."""
    assert read_times(pl.Series([cell]), now=NOW).times.to_list() == [expected]


@pytest.mark.parametrize("cell", ["2024-03-01 10:00 CST", "2024-03-01 10:00 IST", "2024-03", "10:00"])
def test_what_means_several_moments_is_unreadable(cell: str):
    """CST is of America or China; a month is no time, nor is a clock without a day."""
    assert read_times(pl.Series([cell]), now=NOW).unreadable.to_list() == [True]


def test_rounded_numbers_are_counted():
    """A spreadsheet shows long numbers with a power of ten, and the last digits are lost."""
    cells = pl.Series(["1.70929E+12", "1709287200", "2024-03-01", None])
    assert is_rounded(cells).to_list() == [True, False, False, False]
    assert read_times(cells, now=NOW).rounded == 1


def test_other_cells_stay_as_they_are():
    """A spelling that is not known is no time, and months have one number."""
    assert respelled(pl.Series(["soon", "Maybe 5, 2024"])).to_list() == ["soon", "Maybe 5, 2024"]
    assert {MONTH_NUMBERS[name] for name in ("may", "mai", "mayo", "maggio", "mei", "maio")} == {"5"}

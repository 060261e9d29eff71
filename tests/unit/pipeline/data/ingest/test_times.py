"""Times as shops write them."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.ingest.times import DayOrder, read_times

MARCH: str = "2024-03-01T10:00:00"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def _read(*cells: object, order: DayOrder = "auto") -> list[str | None]:
    times = read_times(pl.Series("at", cells), order, NOW).times
    return [None if time is None else time.isoformat() for time in times]


@pytest.mark.parametrize(
    "cell",
    [
        "1709287200",
        "1709287200000",
        "1709287200000000",
        "1709287200000000000",
        "1709287200.0",
        "20240301100000",
        "202403011000",
        "20240301T100000Z",
        "2024-03-01T10:00:00Z",
        "2024-03-01 10:00:00 UTC",
        "2024-03-01T12:00:00+02:00",
        "2024-03-01T04:30:00-0530",
        "2024/03/01 10:00",
        "03/01/2024 10:00",
        "3/1/24 10:00 AM",
        "1 March 2024 10:00",
        "Fri, 01 Mar 2024 10:00:00 GMT",
        "Mar 1, 2024 10:00:00",
        "2024年3月1日 10:00",
        "2024年03月01日 10时00分",
        "45352.416666666664",
        " 2024-03-01T10:00 ",
    ],
)
def test_each_form_of_one_moment(cell: str):
    """Seconds to nanoseconds, digits, ISO, local forms, names of months and Excel's days are one moment."""
    assert _read(cell) == [MARCH]


def test_the_unit_is_found_cell_by_cell():
    """One cell in milliseconds does not move the others to 1970."""
    assert _read("1709287200", "1709287200000", "20240301") == [MARCH, MARCH, "2024-03-01T00:00:00"]
    assert read_times(pl.Series([1709287200, 1709287200000])).times.n_unique() == 1


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["01/07/2011", "02/07/2011"], ["2011-01-07", "2011-02-07"]),
        (["13/07/2011", "02/07/2011"], ["2011-07-13", "2011-07-02"]),
        (["07-13-2011", "07-02-2011"], ["2011-07-13", "2011-07-02"]),
        (["1.7.2011", "2.7.2011"], ["2011-07-01", "2011-07-02"]),
        (["12/1/10", "12/2/10"], ["2010-12-01", "2010-12-02"]),
    ],
)
def test_the_order_of_day_and_month_is_one_for_a_column(cells: list[str], expected: list[str]):
    """A cell past the 12th decides; else points mean that the day comes first, other marks that the month does."""
    assert _read(*cells) == [f"{day}T00:00:00" for day in expected]


def test_the_order_can_be_set_and_is_told():
    """What no cell proves can be said, and the reader says what was taken."""
    cells = pl.Series(["01/07/2011"])
    assert _read("01/07/2011", order="day first") == ["2011-07-01T00:00:00"]
    assert (read_times(cells).order, read_times(cells).proven) == ("month first", False)
    assert read_times(pl.Series(["13/07/2011"])).proven


def test_twelve_hours():
    """Noon and midnight are where a clock of twelve hours has them."""
    cells = ("3/1/2024 12:00 AM", "3/1/2024 12:30 pm", "3/1/2024 1:05:09 p.m.", "3/1/2024 13:00 PM")
    assert _read(*cells) == ["2024-03-01T00:00:00", "2024-03-01T12:30:00", "2024-03-01T13:05:09", None]


def test_the_end_of_a_day_is_the_next_midnight():
    """ISO 8601 writes it as 24:00; no other time of that hour exists."""
    assert _read("2024-02-29T24:00:00", "2024-02-29 24:01") == ["2024-03-01T00:00:00", None]


@pytest.mark.parametrize("cell", ["1. marraskuu 2024", "Maybe 5, 2024", "2024-03-01T10:00:00+25:00"])
def test_what_only_looks_like_a_time_is_unreadable(cell: str):
    """Names of months are of seven languages, and no zone is more than 14 hours from UTC."""
    read = read_times(pl.Series([cell]), now=NOW)
    assert (read.times.to_list(), read.unreadable.to_list()) == ([None], [True])


def test_words_for_nothing_are_no_unreadable_times():
    """An empty cell may be written as NA or null."""
    assert not read_times(pl.Series(["NA", "null", "\\N", "-", "nan"])).unreadable.any()


def test_what_is_no_time_is_told_apart_from_what_is_out_of_bounds():
    """Days that no calendar has are unreadable; years before 1971 and after the next one are outside."""
    read = read_times(pl.Series(["2024-02-30", "soon", "", None, "1.1.0001", "2037-01-01", "0", "2027-12-31"]), now=NOW)
    assert read.times.is_not_null().to_list() == [False] * 7 + [True]
    assert read.unreadable.to_list() == [True, True, False, False, False, False, False, False]
    assert read.outside.to_list() == [False, False, False, False, True, True, True, False]


@settings(deadline=None)  # the first example compiles the patterns
@given(
    st.lists(st.datetimes(datetime(1972, 1, 1), datetime(2026, 12, 31)), min_size=1, max_size=20),  # noqa: DTZ001 - without zone
    st.sampled_from(
        ["%Y-%m-%dT%H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%d %B %Y %H:%M:%S", "%Y%m%d%H%M%S"]
    ),
)
def test_what_was_written_is_read_back(times: list[datetime], form: str):
    """Any moment in any form is the same moment again, if the order of day and month is known."""
    order: DayOrder = "day first" if form.startswith("%d") else "month first"
    whole = [time.replace(microsecond=0) for time in times]
    read = read_times(pl.Series([time.strftime(form) for time in whole]), order, datetime(2027, 1, 1, tzinfo=UTC))
    assert read.times.to_list() == whole

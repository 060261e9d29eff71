"""Where a shop's events end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipeline.data.ingest.row_filter import RowFilter
from pipeline.data.ingest.time_range import leave_out_stray_times

FIRST = datetime(2024, 3, 1)  # noqa: DTZ001 - without zone
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def _left(times: list[datetime]) -> RowFilter:
    events = RowFilter(pl.DataFrame({"timestamp": times}, {"timestamp": pl.Datetime("us")}))
    leave_out_stray_times(events, NOW)
    return events


def _days(count: int) -> list[datetime]:
    return [FIRST + timedelta(days=day) for day in range(count)]


@pytest.mark.parametrize("at", [datetime(2027, 3, 1), datetime(2025, 3, 1)])  # noqa: DTZ001 - without zone
def test_a_stray_event_does_not_move_the_end(at: datetime):
    """One in the future, or a year after all others, is left out, counted and shown."""
    events = _left([at, *_days(30)])
    assert events.frame["timestamp"].to_list() == _days(30)
    dropped = events.report().dropped["stray_time"]
    assert (dropped.rows, f"{at}" in dropped.why) == (1, True)


def test_an_event_in_the_future_is_left_out_of_few_too():
    """It has not happened, whatever the others are."""
    assert _left([*_days(7), datetime(2027, 1, 1)]).frame["timestamp"].to_list() == _days(7)  # noqa: DTZ001


@pytest.mark.parametrize(
    "times",
    [
        [*_days(30), FIRST + timedelta(days=100)],
        [*_days(30), FIRST + timedelta(days=200), FIRST + timedelta(days=201)],
        [*_days(3), FIRST + timedelta(days=400)],
    ],
)
def test_events_after_a_break_stay(times: list[datetime]):
    """A short gap, several events or a small shop are no mistake."""
    assert _left(times).frame["timestamp"].to_list() == times


def test_many_events_in_the_future_stay_and_are_noted():
    """The shop means something else by its times."""
    times = [*_days(3), *[datetime(2027, 1, day) for day in (1, 2)]]  # noqa: DTZ001 - without zone
    events = _left(times)
    assert events.frame["timestamp"].to_list() == times
    assert events.report().notes == ["2 of 5 events lie in the future; check the column of times and the clock."]

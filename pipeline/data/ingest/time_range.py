"""Where a shop's events end: single events long after all others would move the windows that models learn from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

import polars as pl

from pipeline.data.ingest.row_filter import RowFilter

_MAX_STRAY_SHARE: Final = 0.001
_MIN_EVENTS: Final = 20  # of fewer, one is no small share
_MIN_GAP: Final = timedelta(days=90)
_MAX_FUTURE_SHARE: Final = 0.2  # more are what the shop means, such as days of delivery
_ZONES: Final = timedelta(days=1)  # local times may be ahead of UTC


def leave_out_stray_times(events: RowFilter, now: datetime | None = None) -> None:
    """Leave out events in the future, and a few that lie long after all others.

    Events after tomorrow have not happened; if they are more than a fifth, the shop means something else by its times,
    and they stay. Of the others, at most one in a thousand (and one of twenty) is left out if 90 days without any event
    lie before it.

    Args:
        events: The events, with `timestamp` without empty cells.
        now: The present.
    """
    times = events.frame["timestamp"]
    present = (now or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
    future = times > present + _ZONES
    rows = int(future.sum())
    if rows > _MAX_FUTURE_SHARE * len(times):
        events.note(f"{rows:,} of {len(times):,} events lie in the future; check the column of times and the clock.")
        future = future & False
    last = _robust_end(times.filter(~future))
    stray = future if last is None else future | (times > last)
    if not stray.any():
        return
    shown = str(times.filter(stray).max())
    why = f"The time lies in the future, or long after all others, such as {shown}; it would move the end of the data."
    name = "\0stray"
    events.frame = events.frame.with_columns(stray.alias(name))
    events.drop("stray_time", why, pl.col(name))
    events.frame = events.frame.drop(name)


def _robust_end(times: pl.Series) -> datetime | None:
    """Return the last time before a gap that only a few events follow; None if there is no such gap."""
    if len(times) < _MIN_EVENTS:
        return None
    most = max(1, int(_MAX_STRAY_SHARE * len(times)))
    tail = times.top_k(most + 1).sort()
    for before, after in pairwise(tail):
        if after - before > _MIN_GAP:
            last: datetime = before
            return last
    return None

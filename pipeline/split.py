"""Splitting events by time, so that nothing learns from what comes after, and examples of what came next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from common.errors import InvalidRequest


@dataclass(frozen=True)
class Split:
    """Events in three parts, each in the dataset's order.

    Attributes:
        train: What models learn from.
        valid: What settings are chosen on; strictly later than ``train``.
        test: What is reported on; strictly later than ``valid``.
        valid_from: The earliest time of ``valid``, None where only each person's order is known.
        test_from: The earliest time of ``test``, likewise.
    """

    train: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame
    valid_from: datetime | None
    test_from: datetime | None


class Example(NamedTuple):
    """A person at a moment: item ids before it, oldest first, and the distinct ones of the window after it."""

    user_id: str
    history: list[str]
    held_out: set[str]


def temporal_split(events: pl.DataFrame, *, valid: timedelta | float, test: timedelta | float) -> Split:
    """Split events into past, near future and future.

    Events with a ``timestamp`` are cut at the same two moments for everyone. Where only ``position`` is known, no
    moment is common to people, and each person's own sequence is cut.

    Args:
        events: Events of a dataset.
        valid: The length of validation, or its share of the events (more than 0, less than 1).
        test: The length of the test, which ends with the last event, or its share likewise.

    Raises:
        InvalidRequest: The lengths leave a part empty, or a length of time is given without timestamps.
    """
    if "timestamp" not in events.columns:
        split = _split_by_position(events, valid, test)
    else:
        split = _split_by_time(events, valid, test)
    empty = [name for name in ("train", "valid", "test") if getattr(split, name).is_empty()]
    if empty:
        raise InvalidRequest(
            f"valid={valid} and test={test} leave no events in {', '.join(empty)}; choose other lengths"
        )
    return split


def examples(
    events: pl.DataFrame,
    cut: datetime,
    window: timedelta,
    *,
    min_history: int = 1,
    users: int | None = None,
    seed: int = 0,
) -> list[Example]:
    """Return what people held at ``cut`` and what they took in [cut, cut + window).

    Args:
        events: Events of a dataset with timestamps.
        cut: The moment that parts history from future.
        window: How far the future reaches.
        min_history: People with fewer events before ``cut`` are left out.
        users: How many people to sample; by default all.
        seed: Of the sample, which depends on nothing else.

    Returns:
        One example for each person with enough history and a future, by user id.
    """
    time = pl.col("timestamp")
    future = events.filter((time >= cut) & (time < cut + window))
    return examples_between(events.filter(time < cut), future, min_history=min_history, users=users, seed=seed)


def examples_between(
    past: pl.DataFrame, future: pl.DataFrame, *, min_history: int = 1, users: int | None = None, seed: int = 0
) -> list[Example]:
    """Return :func:`examples` for a past and a future that were parted already, such as two parts of a split."""
    order = "timestamp" if "timestamp" in past.columns else "position"
    histories = (
        _of_known_users(past)
        .sort("user_id", order, maintain_order=True)
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("item_id").alias("history"))
        .filter(pl.col("history").list.len() >= min_history)
    )
    held_out = _of_known_users(future).group_by("user_id").agg(pl.col("item_id").unique().alias("held_out"))
    found = _sampled(histories.join(held_out, on="user_id").sort("user_id"), users, seed)
    return [Example(user_id, history, set(items)) for user_id, history, items in found.iter_rows()]


def _split_by_time(events: pl.DataFrame, valid: timedelta | float, test: timedelta | float) -> Split:
    times = events["timestamp"].sort()
    rows = len(times)
    test_from = _cut(times, test, rows, None)
    valid_from = _cut(times.filter(times < test_from), valid, rows, test_from)
    time = pl.col("timestamp")
    return Split(
        events.filter(time < valid_from),
        events.filter((time >= valid_from) & (time < test_from)),
        events.filter(time >= test_from),
        valid_from,
        test_from,
    )


def _cut(times: pl.Series, length: timedelta | float, rows: int, end: datetime | None) -> datetime:
    """Return the moment from which on the last part of the sorted times lies; equal times stay together.

    The part reaches to ``end``, exclusive, or holds the last of ``times`` where there is none.
    """
    if times.is_empty():
        raise InvalidRequest("there are no events left to split; make valid and test shorter")
    if isinstance(length, timedelta):
        last: datetime = times[-1]
        return (end or last + timedelta(microseconds=1)) - length
    moment: datetime = times[max(len(times) - _rows(length, rows), 0)]
    return moment


def _rows(share: float, rows: int) -> int:
    if not 0 < share < 1:
        raise InvalidRequest(f"a share of the events must lie between 0 and 1, it is {share}")
    return max(1, round(share * rows))


def _split_by_position(events: pl.DataFrame, valid: timedelta | float, test: timedelta | float) -> Split:
    if isinstance(valid, timedelta) or isinstance(test, timedelta):
        raise InvalidRequest("the events have no timestamp, only positions; give valid and test as shares, such as 0.1")
    _rows(valid, 1), _rows(test, 1)
    count = pl.len().over("user_id")
    from_end = count - pl.col("position").rank("max").over("user_id")  # 0 for a person's last event, equal ones alike
    in_test = from_end < (count * test).ceil()
    in_valid = ~in_test & (from_end < (count * test).ceil() + (count * valid).ceil())
    return Split(events.filter(~in_test & ~in_valid), events.filter(in_valid), events.filter(in_test), None, None)


def _of_known_users(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(pl.col("known_user").fill_null(value=True)) if "known_user" in events.columns else events


def _sampled(frame: pl.DataFrame, rows: int | None, seed: int) -> pl.DataFrame:
    if rows is None or rows >= frame.height:
        return frame
    chosen = np.random.default_rng(seed).choice(frame.height, rows, replace=False)
    return frame[np.sort(chosen)]

"""Splits users' events at a time into history and future."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl


class UserSplit(NamedTuple):
    """A user's item ids before a time, oldest first, and the distinct ones in the window after it."""

    user_id: str
    history: list[str]
    held_out: set[str]


def split_users(events: pl.DataFrame, cut: datetime, window: timedelta, *, min_history: int = 1) -> list[UserSplit]:
    """Return users' items before ``cut``, and in [cut, cut + window).

    Args:
        events: Events of a dataset with timestamps.
        cut: The time that separates history and future.
        window: Length of the future.
        min_history: Minimum number of events before ``cut``; other users are left out.

    Returns:
        One example for each user with enough history and a future, by user id.
    """
    time = pl.col("timestamp")
    known = _known_users_events(events)
    histories = (
        known.filter(time < cut)
        .sort("user_id", "timestamp", maintain_order=True)
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("item_id").alias("history"))
        .filter(pl.col("history").list.len() >= min_history)
    )
    future = known.filter((time >= cut) & (time < cut + window))
    held_out = future.group_by("user_id").agg(pl.col("item_id").unique().alias("held_out"))
    found = histories.join(held_out, on="user_id").sort("user_id")
    return [UserSplit(user_id, history, set(items)) for user_id, history, items in found.iter_rows()]


def _known_users_events(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(pl.col("known_user").fill_null(value=True)) if "known_user" in events.columns else events

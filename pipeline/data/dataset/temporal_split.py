"""Users at a moment: what was known of them then, and what they went on to take."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl


class UserSplit(NamedTuple):
    """A user at a moment: item ids before it, oldest first, and the distinct ones of the window after it."""

    user_id: str
    history: list[str]
    held_out: set[str]


def split_users(events: pl.DataFrame, cut: datetime, window: timedelta, *, min_history: int = 1) -> list[UserSplit]:
    """Return what users held at ``cut`` and what they took in [cut, cut + window).

    Args:
        events: Events of a dataset with timestamps.
        cut: The moment that parts history from future.
        window: How far the future reaches.
        min_history: Users with fewer events before ``cut`` are left out.

    Returns:
        One example for each user with enough history and a future, by user id.
    """
    time = pl.col("timestamp")
    known = _of_known_users(events)
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


def _of_known_users(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(pl.col("known_user").fill_null(value=True)) if "known_user" in events.columns else events

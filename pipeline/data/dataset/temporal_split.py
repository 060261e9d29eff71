"""Splits users' events at a time into history and future."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from pipeline.data.dataset.event_kinds import KIND, target_events


class UserSplit(NamedTuple):
    """A user's item ids before a time, oldest first, and the distinct ones of the target in the window after it.

    Attributes:
        user_id: The user.
        history: Items before the time.
        held_out: Items in the window.
        kinds: What each event of the history was, by number; empty if all are of the target.
        ages_s: Seconds from each of them to the time.
    """

    user_id: str
    history: list[str]
    held_out: set[str]
    kinds: Sequence[int] = ()
    ages_s: Sequence[float] = ()


def split_users(events: pl.DataFrame, cut: datetime, window: timedelta, *, min_history: int = 1) -> list[UserSplit]:
    """Return users' items before ``cut``, and those of the target in [cut, cut + window).

    Args:
        events: Events of a dataset with timestamps; see `pipeline.data.dataset.event_kinds.weigh_events`.
        cut: The time that separates history and future.
        window: Length of the future.
        min_history: Minimum number of events before ``cut``; other users are left out.

    Returns:
        One example for each user with enough history and a future, by user id.
    """
    time = pl.col("timestamp")
    age_s = ((pl.lit(cut) - time).dt.total_microseconds() / 1e6).cast(pl.Float32)  # as the contract carries ages
    known = _known_users_events(events)
    kinds = pl.col(KIND) if KIND in events.columns else pl.lit(None, dtype=pl.Int8)
    histories = (
        known.filter(time < cut)
        .sort("user_id", "timestamp", maintain_order=True)
        .with_columns(age_s.alias("age_s"), kinds.alias("kind"))
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("item_id").alias("history"), "kind", "age_s")
        .filter(pl.col("history").list.len() >= min_history)
    )
    future = target_events(known).filter((time >= cut) & (time < cut + window))
    held_out = future.group_by("user_id").agg(pl.col("item_id").unique().alias("held_out"))
    found = histories.join(held_out, on="user_id").sort("user_id")
    return [
        UserSplit(user_id, history, set(items), kind if KIND in events.columns else (), age)
        for user_id, history, kind, age, items in found.iter_rows()
    ]


def _known_users_events(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(pl.col("known_user").fill_null(value=True)) if "known_user" in events.columns else events

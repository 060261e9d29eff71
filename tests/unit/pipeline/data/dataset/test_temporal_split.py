"""A user's history ends where what is to be foretold begins."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from pipeline.data.dataset.event_kinds import KIND, TARGET
from pipeline.data.dataset.temporal_split import split_users

START = datetime(2024, 1, 1)  # noqa: DTZ001 - datasets have no zone


DAY = timedelta(days=1)


def purchases(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    """Return events of (user, item, day), in that order."""
    users, items, when = zip(*rows, strict=True)
    stamps = [START + day * DAY for day in when]
    return pl.DataFrame({"user_id": users, "item_id": items, "event": "purchase", "timestamp": stamps})


def test_an_example_holds_the_history_oldest_first_and_the_window_after_the_cut():
    """The cut's own moment belongs to the future, the window's end does not; users without a future are left out."""
    events = purchases(
        [("u", "c", 3), ("u", "a", 1), ("u", "b", 2), ("u", "d", 5), ("u", "a", 6), ("u", "z", 8), ("v", "a", 1)]
    )
    (example,) = split_users(events, START + 5 * DAY, 3 * DAY)
    assert example[:3] == ("u", ["a", "b", "c"], {"d", "a"})
    assert list(example.kinds) == []
    assert list(example.ages_s) == [days * 86_400.0 for days in (4, 3, 2)]


def test_views_are_history_and_never_held_out():
    """What is foretold is a purchase; a view counts as what was known before, with its kind."""
    rows = [("u", "a", 1), ("u", "b", 2), ("u", "c", 6), ("u", "d", 7), ("v", "a", 1), ("v", "b", 6)]
    kinds = pl.Series("event", ["view", "purchase", "purchase", "view", "purchase", "view"])
    events = purchases(rows).with_columns(kinds)
    events = events.with_columns(
        (kinds == "purchase").alias(TARGET), kinds.replace_strict({"view": 1, "purchase": 3}).alias(KIND)
    )
    (example,) = split_users(events, START + 5 * DAY, 9 * DAY)
    assert example[:3] == ("u", ["a", "b"], {"c"})
    assert list(example.kinds) == [1, 3]


def test_users_with_a_short_history_are_left_out():
    """min_history counts events before the cut."""
    events = purchases([("u", "a", 1), ("u", "b", 2), ("u", "c", 9), ("v", "a", 1), ("v", "b", 9)])
    assert [found.user_id for found in split_users(events, START + 5 * DAY, 9 * DAY, min_history=2)] == ["u"]


def test_guests_are_no_examples():
    """Events that name no user are not taken for a user's history."""
    rows = [("u", "a", 1), ("u", "b", 9), ("guest", "a", 1), ("guest", "b", 9)]
    events = purchases(rows).with_columns(known_user=pl.col("user_id") == "u")
    assert [found.user_id for found in split_users(events, START + 5 * DAY, 9 * DAY)] == ["u"]

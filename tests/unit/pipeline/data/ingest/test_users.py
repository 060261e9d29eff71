"""Users who are no person."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from pipeline.data.ingest.row_filter import RowFilter
from pipeline.data.ingest.users import leave_out_nobody, limit_days


def _left(*users: str, nobody: tuple[str, ...] | None = None) -> tuple[list[str | None], list[str]]:
    events = RowFilter(pl.DataFrame({"user_id": users}))
    leave_out_nobody(events, nobody)
    return events.frame["user_id"].to_list(), events.report().notes


@pytest.mark.parametrize("word", ["guest", "Anonymous", "unknown", "(not set)", "undefined"])
def test_words_for_nobody_are_no_user(word: str):
    """All visitors without an account would be one person, who buys everything."""
    users, notes = _left("u1", word, word)
    assert users == ["u1", None, None]
    assert notes[0].startswith(f"The user {word!r} is no person: 2 of 3 events (67%) count as without a user.")


@pytest.mark.parametrize(
    ("users", "is_nobody"),
    [
        (["0"] * 4 + ["ann", "bob"], True),
        (["0"] * 4 + ["1001", "1002"], True),
        (["0", "1", "1", "2"], False),
        (["0"], False),
        (["-1"] * 9 + ["7", "7", "8"], True),
    ],
)
def test_zero_is_nobody_if_no_person_could_be_it(users: list[str], is_nobody: bool):
    """Data sets number people from 0, and shops write it for guests: other ids and its share tell."""
    left, notes = _left(*users)
    assert (users[0] not in left) is is_nobody
    assert bool(notes) is is_nobody


def test_who_is_nobody_can_be_set():
    """What is named holds alone."""
    assert _left("guest", "till", nobody=("till",))[0] == ["guest", None]
    assert _left("guest", nobody=())[0] == ["guest"]


def test_a_user_with_many_of_the_events_is_named():
    """A till may have any id, so it stays until it is named."""
    people = [f"p{at}" for at in range(60)]
    users, notes = _left(*people, *["shop"] * 20)
    assert users == [*people, *["shop"] * 20]
    assert notes == ["The user 'shop' has 25% of the events; if it is no person, name it under nobody in a mapping."]


def test_the_latest_events_of_a_day_count():
    """Of three views on a day, the two latest; other kinds and days have limits of their own."""
    day = datetime(2024, 3, 1)  # noqa: DTZ001 - without zone
    rows = [("u", "view", day + timedelta(hours=hour)) for hour in (3, 1, 2)]
    rows += [("u", "cart", day), ("u", "view", day + timedelta(days=1))]
    events = RowFilter(pl.DataFrame(rows, ["user_id", "event", "timestamp"], orient="row"))
    limit_days(events, 2)
    assert [time.hour for time in events.frame["timestamp"]] == [3, 2, 0, 0]
    assert events.report().dropped["over_daily_limit"].rows == 1
    assert "1, such as 'u' with 3" in events.report().notes[0]

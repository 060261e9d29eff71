"""Users who are no person: names that shops give to visitors without an account, and bots and tills."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from pipeline.data.ingest.row_filter import RowFilter

MAX_DAILY_EVENTS: Final = 1_000  # as many as serving reads of a user's history

# What shops write for a visitor without an account.
_WORDS: Final = (
    "anonymous anonym anon guest guests guest-user guest-customer gast invité invitado unknown unbekannt undefined "
    "unassigned nobody visitor walk-in walk-in-customer not-set (not-set) not-logged-in"
)
_NOBODY: Final = frozenset(_WORDS.split())
# Numbers that some shops write for it, and that are the id of a person in others.
_NUMBERS: Final = r"^(?:0+|-1|0{8}-0{4}-0{4}-0{4}-0{12})$"
_MIN_NUMBER_SHARE: Final = 0.05
_MIN_TIMES_THE_NEXT: Final = 3
_LARGE_SHARE: Final = 0.1
_MIN_OTHER_USERS: Final = 50
_ROW: Final = "\0row"


def leave_out_nobody(events: RowFilter, nobody: Collection[str] | None = None) -> None:
    """Empty the ids of users who are no person, and note who they are and who else may be none.

    `guest`, `anonymous` and their like are no person. `0` and `-1` are none if the other ids are no whole numbers, or
    if they have a twentieth of the events and three times as many as the next user.

    Args:
        events: The events, with `user_id` as text.
        nobody: The ids of users who are no person; None finds them.
    """
    counts = events.frame["user_id"].drop_nulls().value_counts(sort=True)
    if counts.is_empty():
        return
    named = sorted(_found(counts) if nobody is None else set(nobody) & set(counts["user_id"]))
    total = int(counts["count"].sum())
    people = counts.filter(~pl.col("user_id").is_in(named))
    if named:
        events.replace("user_id", events.frame["user_id"].set(events.frame["user_id"].is_in(named), None))
        rows = total - int(people["count"].sum())
        shown = ", ".join(map(repr, named[:5]))
        events.note(
            f"The user {shown} is no person: {rows:,} of {total:,} events ({rows / total:.0%}) count as without a "
            "user. Set nobody in a mapping if that is wrong."
        )
    if people.height > _MIN_OTHER_USERS and (most := people.row(0))[1] > _LARGE_SHARE * total:
        events.note(
            f"The user {most[0]!r} has {most[1] / total:.0%} of the events; if it is no person, name it under nobody "
            "in a mapping."
        )


def _found(counts: pl.DataFrame) -> set[str]:
    plain = counts.with_columns(pl.col("user_id").str.to_lowercase().str.replace_all(r"[\s_]+", "-").alias("word"))
    found = set(plain.filter(pl.col("word").is_in(list(_NOBODY)))["user_id"])
    numbers = plain.filter(pl.col("word").str.contains(_NUMBERS))
    others = plain.filter(~pl.col("word").str.contains(_NUMBERS) & ~pl.col("word").is_in(list(_NOBODY)))
    if numbers.is_empty() or others.is_empty():
        return found
    if not others["word"].str.contains(r"^\d+$").any():
        return found | set(numbers["user_id"])
    most = int(others["count"].max() or 0)  # type: ignore[arg-type]  # of whole numbers
    enough = (pl.col("count") >= _MIN_NUMBER_SHARE * int(counts["count"].sum())) & (
        pl.col("count") >= _MIN_TIMES_THE_NEXT * most
    )
    return found | set(numbers.filter(enough)["user_id"])


def limit_days(events: RowFilter, limit: int) -> None:
    """Leave out the earlier events of users with more on a day than people have, and name these users."""
    many = events.frame["user_id"].value_counts().filter(pl.col("count") > limit)["user_id"]
    if many.is_empty():
        return
    day = ["user_id", "event", pl.col("timestamp").dt.date().alias("day")]
    busy = (
        events.frame.filter(pl.col("user_id").is_in(many.implode()))
        .group_by(day)
        .len("events")
        .filter(pl.col("events") > limit)
    )
    if busy.is_empty():
        return
    order = pl.col("timestamp").rank("ordinal", descending=True).over(day)
    is_busy = pl.col("user_id").is_in(busy["user_id"].unique().implode())
    frame = events.frame.with_row_index(_ROW)
    beyond = frame.filter(is_busy).filter(order > limit)[_ROW]
    events.frame = frame
    why = f"The user has more than {limit:,} events of this kind on this day; the latest count."
    events.drop("over_daily_limit", why, pl.col(_ROW).is_in(beyond.implode()))
    events.frame = events.frame.drop(_ROW)
    most = busy.sort(["events", "user_id"], descending=[True, False]).unique("user_id", maintain_order=True)
    shown = ", ".join(f"{user!r} with {count:,}" for user, count in most.head(3).select("user_id", "events").rows())
    events.note(
        f"Users with more than {limit:,} events of a kind on a day, bots or tills: {len(most):,}, such as {shown}."
    )

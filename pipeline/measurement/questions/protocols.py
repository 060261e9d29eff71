"""Questions whose answers are known: whom to ask for, at which moment, and what turned out to be wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from common.errors import InvalidRequest
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.temporal_split import Example
from pipeline.data.dataset.training_requests import Windows, draw_test
from pipeline.data.files.tables import read_table

PROTOCOLS: Final = ("temporal", "leave-last-out", "judged")


_NEW_USERS: Final = 200


# What metrics count as relevant at all; see pipeline.metrics.evaluate.
_LEAST_GRADE: Final = 0.001


_SEEN: Final = (
    "Nothing is built anew: a release that was built with these last events has seen the answers. Build it without "
    "them, or read these figures as an upper bound."
)


_NOT_THE_WINDOW: Final = (
    "Probabilities promise what happens within the release's window, not the very next event: calibration is out of "
    "place here."
)


@dataclass(frozen=True)
class Question:
    """One request with its known answer.

    Attributes:
        key: What tells it from others.
        group: Whose it is: a user, or a query. Folds never part a group.
        history: Item ids before the moment, oldest first.
        query: What is searched for; empty for nothing.
        relevant: Grades by item, above 0 where relevant; items without a grade count as not relevant.
    """

    key: str
    group: str
    history: Sequence[str]
    query: str
    relevant: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Before:
    """What was known when questions were asked, and what came after.

    Attributes:
        moment: When.
        events: Before it.
        later: From it on, as far as the questions reach.
    """

    moment: datetime
    events: pl.DataFrame
    later: pl.DataFrame


@dataclass(frozen=True)
class Questions:
    """What a release is asked.

    Attributes:
        protocol: How the questions were made, a word.
        description: The same in a sentence.
        asked: The questions that the main figures are of.
        new_users: Questions of users without any history, measured apart.
        notes: What a reader should know, one sentence each.
        judged: Whether the answers are judgements, so that an item without one is unknown rather than unwanted.
        before: What was known when they are asked; None where that is not the same for all.
    """

    protocol: str
    description: str
    asked: Sequence[Question]
    new_users: Sequence[Question] = ()
    notes: Sequence[str] = field(default_factory=list)
    judged: bool = False
    before: Before | None = None


def make_questions(
    dataset: Dataset, settings: Mapping[str, Any], protocol: str, *, users: int | None, seed: int
) -> Questions:
    """Make the questions of a protocol.

    Args:
        dataset: The data.
        settings: The release's, from its manifest.
        protocol: One of PROTOCOLS.
        users: How many users or queries to ask for at most; by default the release's ``test_users``, or all.
        seed: Of the drawing, where the release's settings have none.

    Raises:
        InvalidRequest: An unknown protocol, or the data has nobody to ask for.
    """
    if dataset.events.is_empty() and protocol in ("temporal", "leave-last-out"):
        raise InvalidRequest(f"the data has no events; {protocol} needs some, --protocol judged does not")
    match protocol:
        case "temporal":
            made = _temporal(dataset, settings, users, seed)
        case "leave-last-out":
            made = _leave_last_out(dataset, users, seed)
        case "judged":
            made = _judged(dataset, users, seed)
        case _:
            raise InvalidRequest(f"there is no protocol {protocol!r}; the known ones are {', '.join(PROTOCOLS)}")
    if not made.asked:
        raise InvalidRequest(f"the data has nobody to ask for by the protocol {protocol}; choose another one")
    return made


def given_questions(file: Path, users: int | None, seed: int) -> Questions:
    """Read questions from a table with ``user_id``, ``history`` (a list of item ids, oldest first) and ``target``.

    Raises:
        BadDataset: The file or a column is missing.
        InvalidRequest: The file has no row.
    """
    table = read_table(file, {column: column for column in ("user_id", "history", "target")})
    if table.is_empty():
        raise InvalidRequest(f"{file} has no row; name a file with questions")
    rows = enumerate(_drawn(list(table.iter_rows()), users, seed))
    asked = [
        Question(f"{user}#{number}", user, tuple(history), "", {target: 1.0})
        for number, (user, history, target) in rows
    ]
    return Questions(
        "given",
        f"the {len(asked):,} questions of {file.name}: a history, and the one item that followed",
        asked,
        notes=["That nothing was learned from these rows is for whoever built the release to know."],
    )


def _temporal(dataset: Dataset, settings: Mapping[str, Any], users: int | None, seed: int) -> Questions:
    days = settings.get("window_days")
    if days is None:
        raise InvalidRequest("the release's settings have no window_days; choose --protocol leave-last-out")
    windows = Windows.of(dataset.events, float(days))
    count, seed = users or int(settings.get("test_users", 250)), int(settings.get("seed", seed))
    examples = draw_test(dataset.events, windows, count, seed)
    described = (
        f"what {len(examples):,} users did in the {days:g} days from {windows.test:%Y-%m-%d}, asked at that moment "
        "with their history of at least three events; the release saw nothing of what they did then"
    )
    drawn = int(settings.get("test_users", count))
    notes = [] if count <= drawn else [f"Of {count} users asked for, the release kept {drawn} apart: others taught it."]
    new_users = _new_users(dataset.events, windows, seed)
    return Questions("temporal", described, _of(examples), new_users, notes, before=_before(dataset.events, windows))


def _before(events: pl.DataFrame, windows: Windows) -> Before:
    time = pl.col("timestamp")
    later = events.filter((time >= windows.test) & (time < windows.test + windows.length))
    return Before(windows.test, events.filter(time < windows.test), later)


def _of(examples: Sequence[Example]) -> list[Question]:
    return [
        Question(example.user_id, example.user_id, example.history, "", dict.fromkeys(example.held_out, 1.0))
        for example in examples
    ]


def _new_users(events: pl.DataFrame, windows: Windows, seed: int) -> list[Question]:
    """Return users whose first event lies in the window: all that is known of them is that they came."""
    known = events.filter(pl.col("known_user").fill_null(value=True)) if "known_user" in events.columns else events
    first = known.group_by("user_id").agg(pl.col("timestamp").min().alias("first"))
    new = first.filter(pl.col("first") >= windows.test).select("user_id")
    future = known.join(new, on="user_id", how="semi").filter(pl.col("timestamp") < windows.test + windows.length)
    wanted = future.group_by("user_id").agg(pl.col("item_id").unique().sort()).sort("user_id")
    return [
        Question(f"new {user}", user, (), "", dict.fromkeys(items, 1.0))
        for user, items in _drawn(list(wanted.iter_rows()), _NEW_USERS, seed)
    ]


def _leave_last_out(dataset: Dataset, users: int | None, seed: int) -> Questions:
    order = dataset.order_column
    events = dataset.events
    if "known_user" in events.columns:
        events = events.filter(pl.col("known_user").fill_null(value=True))
    sequences = (
        events.sort("user_id", order, maintain_order=True)
        .group_by("user_id", maintain_order=True)
        .agg("item_id")
        .filter(pl.col("item_id").list.len() > 1)
    )
    drawn = _drawn(list(sequences.iter_rows()), users, seed)
    asked = [Question(user, user, items[:-1], "", {items[-1]: 1.0}) for user, items in drawn]
    return Questions(
        "leave-last-out",
        f"the last event of each of {len(asked):,} users, asked with all events before it",
        asked,
        notes=[_SEEN, _NOT_THE_WINDOW],
    )


def _judged(dataset: Dataset, users: int | None, seed: int) -> Questions:
    judgements = dataset.judgements
    if judgements is None or judgements.is_empty():
        raise InvalidRequest("the data has no judgements; choose another protocol")
    if "split" in judgements.columns and (judgements["split"] == "test").any():
        judgements = judgements.filter(pl.col("split") == "test")
    keys = ["query", "language"] if "language" in judgements.columns else ["query"]
    grouped = judgements.group_by(keys).agg("item_id", "relevance").sort(keys)
    rows = [(*row[: len(keys)], dict(zip(*row[len(keys) :], strict=True))) for row in grouped.iter_rows()]
    usable = [row for row in rows if max(row[-1].values()) >= _LEAST_GRADE]
    asked = [
        Question(" ".join(filter(None, row[:-1])), row[0], (), row[0], row[-1]) for row in _drawn(usable, users, seed)
    ]
    notes = ["An item without a judgement counts as not relevant, but in the measures that say `judged`."]
    if len(usable) < len(rows):
        notes.append(f"{len(rows) - len(usable):,} queries without any relevant item were left out.")
    described = f"{len(asked):,} judged queries" + (" of the test split" if "split" in judgements.columns else "")
    return Questions("judged", described, asked, notes=notes, judged=True)


def _drawn(rows: list[Any], count: int | None, seed: int) -> list[Any]:
    if count is None or count >= len(rows):
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    return [rows[place] for place in np.sort(chosen)]

"""Evaluation protocols: they make questions whose relevant items are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl

from common.errors import InvalidRequest
from pipeline.data.adapters.datasets.purchases.typed_queries import Part, relevant_items
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import KIND, TARGET, target_events, weigh_as_stated
from pipeline.data.dataset.temporal_split import UserSplit
from pipeline.data.dataset.training_requests import Windows, sample_test_users

PROTOCOLS: Final = ("temporal", "leave-last-out", "judged", "typed", "discovery")
_NEW_USERS: Final = 200
_SEARCHES: Final = 200
# The lowest grade that measures count as relevant; see `ranking_metrics.evaluate`.
_MIN_GRADE: Final = 0.001
_SEEN_ANSWERS: Final = (
    "The release is not rebuilt for this protocol: if it was built with these last events, it has seen the answers. "
    "Build it without them, or read these figures as an upper bound."
)
_NO_WINDOW: Final = (
    "Probabilities predict events within the release's window, not the next event, so calibration means little here."
)


@dataclass(frozen=True)
class Question:
    """A request and its relevant items.

    Attributes:
        key: Unique id.
        group: The user, or the query. Folds never split a group.
        history: Item ids before the question's time, oldest first.
        query: The search query, or "".
        relevant: Grade by item; items are relevant above 0, and items without a grade are not relevant.
        history_kinds: What each event of the history was, by number; empty if all are of the target.
        history_ages_s: Seconds from each of them to the question's time; empty if unknown.
        exclude_history: Whether items of the history are left out of the answer.
    """

    key: str
    group: str
    history: Sequence[str]
    query: str
    relevant: Mapping[str, float]
    history_kinds: Sequence[int] = ()
    history_ages_s: Sequence[float] = ()
    exclude_history: bool = False


@dataclass(frozen=True, eq=False)
class EventSplit:
    """The events before and after the time of the questions.

    Attributes:
        time: The time of the questions.
        before: Events before it.
        after: Events from it on, until the end of the questions' window.
    """

    time: datetime
    before: pl.DataFrame
    after: pl.DataFrame


@dataclass(frozen=True)
class Questions:
    """The questions of an evaluation.

    Attributes:
        protocol: Name of the protocol.
        description: The protocol in one sentence.
        main: The questions of the main figures.
        new_users: Questions of users without any history, measured separately.
        searches: Judged searches that nothing was learned from, measured separately.
        notes: What a reader should know, one sentence each.
        judged: Whether relevance comes from judgements, so that the relevance of an item without one is unknown.
        event_split: The events before and after the questions; None if the questions have different times.
    """

    protocol: str
    description: str
    main: Sequence[Question]
    new_users: Sequence[Question] = ()
    searches: Sequence[Question] = ()
    notes: Sequence[str] = field(default_factory=list)
    judged: bool = False
    event_split: EventSplit | None = None


def make_questions(
    dataset: Dataset,
    settings: Mapping[str, Any],
    protocol: str,
    *,
    users: int | None,
    seed: int,
) -> Questions:
    """Make the questions of a protocol.

    Args:
        dataset: The data.
        settings: The release's build settings, from its manifest.
        protocol: One of PROTOCOLS.
        users: Maximum number of users or queries; by default the release's ``test_users``, or all.
        seed: Seed of the sample, if the release's settings have none.

    Raises:
        InvalidRequest: The protocol is unknown, or the data has no questions for it.
    """
    dataset = weigh_as_stated(dataset, settings.get("event_weights", ()))
    if dataset.events.is_empty() and protocol in ("temporal", "leave-last-out"):
        raise InvalidRequest(f"the data has no events, which the protocol {protocol} needs; use --protocol judged")
    match protocol:
        case "temporal":
            questions = _temporal(dataset, settings, users, seed)
        case "leave-last-out":
            questions = _leave_last_out(dataset, users, seed)
        case "judged":
            questions = _judged(dataset, users, seed)
        case "discovery":
            questions = discovery(_temporal(dataset, settings, users, seed))
        case "typed":
            questions = typed_questions(dataset.items, "held-out")
        case _:
            raise InvalidRequest(f"there is no protocol {protocol!r}; the known ones are {', '.join(PROTOCOLS)}")
    if not questions.main:
        raise InvalidRequest(f"the data has no questions for the protocol {protocol}; choose another one")
    return questions


def discovery(questions: Questions) -> Questions:
    """Return the questions about what else, not what again: answers without the history, for items not in it."""
    new = [
        (one, {item: one.relevant[item] for item in sorted(one.relevant.keys() - set(one.history))})
        for one in questions.main
    ]
    asked = [replace(one, relevant=relevant, exclude_history=True) for one, relevant in new if relevant]
    description = f"{len(asked):,} of them, with the history left out: {questions.description}"
    return replace(questions, protocol="discovery", description=description, main=asked, new_users=(), searches=())


def typed_questions(items: pl.DataFrame, part: Part) -> Questions:
    """Make questions of the searches of one part; see `relevant_items`."""
    asked = [Question(f"typed {query}", query, (), query, relevant) for query, relevant in relevant_items(items, part)]
    return Questions(
        "typed",
        f"{len(asked)} searches as people type them ({part}), written for the project; relevance by product type",
        asked,
        notes=["The searches are no log of a shop. Product types were judged, not single items."],
    )


def _temporal(dataset: Dataset, settings: Mapping[str, Any], users: int | None, seed: int) -> Questions:
    days = settings.get("window_days")
    if days is None:
        raise InvalidRequest("the release's settings have no window_days; choose --protocol leave-last-out")
    windows = Windows.of(dataset.events, float(days))
    count, seed = users or int(settings.get("test_users", 250)), int(settings.get("seed", seed))
    examples = sample_test_users(dataset.events, windows, count, seed)
    description = (
        f"events of {len(examples):,} users in the {days:g} days from {windows.test:%Y-%m-%d}, predicted at that time "
        "from histories of at least three events; tables and models end before these events"
    )
    held_out = int(settings.get("test_users", count))
    notes = (
        [] if count <= held_out else [f"Of {count} users, the release held out {held_out}: it learned from the others."]
    )
    new_users = _new_users(dataset.events, windows, seed)
    return Questions(
        "temporal",
        description,
        _questions_from(examples),
        new_users,
        _searches_held_out(dataset, seed),
        notes,
        event_split=_split_events(dataset.events, windows),
    )


def _split_events(events: pl.DataFrame, windows: Windows) -> EventSplit:
    time = pl.col("timestamp")
    after = events.filter((time >= windows.test) & (time < windows.test + windows.length))
    return EventSplit(windows.test, events.filter(time < windows.test), after)


def _questions_from(examples: Sequence[UserSplit]) -> list[Question]:
    return [
        Question(
            example.user_id,
            example.user_id,
            example.history,
            "",
            dict.fromkeys(example.held_out, 1.0),
            example.kinds,
            example.ages_s,
        )
        for example in examples
    ]


def _new_users(events: pl.DataFrame, windows: Windows, seed: int) -> list[Question]:
    """Return a sample of users whose first event is in the window: they have no history."""
    known = events.filter(pl.col("known_user").fill_null(value=True)) if "known_user" in events.columns else events
    first = known.group_by("user_id").agg(pl.col("timestamp").min().alias("first"))
    new = first.filter(pl.col("first") >= windows.test).select("user_id")
    future = known.join(new, on="user_id", how="semi").filter(pl.col("timestamp") < windows.test + windows.length)
    relevant = target_events(future).group_by("user_id").agg(pl.col("item_id").unique().sort()).sort("user_id")
    return [
        Question(f"new {user}", user, (), "", dict.fromkeys(items, 1.0))
        for user, items in sample(list(relevant.iter_rows()), _NEW_USERS, seed)
    ]


def _searches_held_out(dataset: Dataset, seed: int) -> Sequence[Question]:
    """Return a sample of the judged searches of the split `test`; without it, none is known to be held out."""
    judgements = dataset.judgements
    if judgements is None or "split" not in judgements.columns or not (judgements["split"] == "test").any():
        return ()
    asked = _judged(dataset, _SEARCHES, seed).main
    return [replace(one, key=f"search {one.key}") for one in asked]


def _leave_last_out(dataset: Dataset, users: int | None, seed: int) -> Questions:
    order = dataset.order_column
    events = dataset.events
    if "known_user" in events.columns:
        events = events.filter(pl.col("known_user").fill_null(value=True))
    columns = [name for name in ("item_id", KIND, TARGET) if name in events.columns]
    grouped = events.sort("user_id", order, maintain_order=True).group_by("user_id", maintain_order=True)
    sequences = (_last_out(*row) for row in grouped.agg(columns).iter_rows())
    asked = sample([question for question in sequences if question is not None], users, seed)
    return Questions(
        "leave-last-out",
        f"the last event of each of {len(asked):,} users, predicted from all events before it",
        asked,
        notes=[_SEEN_ANSWERS, _NO_WINDOW],
    )


def _last_out(
    user: str, items: Sequence[str], kinds: Sequence[int] = (), targets: Sequence[bool] = ()
) -> Question | None:
    """Return the question for a user's last event of the target; None if nothing comes before it."""
    places = [place for place in range(1, len(items)) if not targets or targets[place]]
    if not places:
        return None
    last = places[-1]
    return Question(user, user, items[:last], "", {items[last]: 1.0}, kinds[:last])


def _judged(dataset: Dataset, users: int | None, seed: int) -> Questions:
    judgements = dataset.judgements
    if judgements is None or judgements.is_empty():
        raise InvalidRequest("the data has no judgements; choose another protocol")
    if "split" in judgements.columns and (judgements["split"] == "test").any():
        judgements = judgements.filter(pl.col("split") == "test")
    keys = ["query", "language"] if "language" in judgements.columns else ["query"]
    grouped = judgements.group_by(keys).agg("item_id", "relevance").sort(keys)
    rows = [(*row[: len(keys)], dict(zip(*row[len(keys) :], strict=True))) for row in grouped.iter_rows()]
    usable = [row for row in rows if max(row[-1].values()) >= _MIN_GRADE]
    asked = [
        Question(" ".join(filter(None, row[:-1])), row[0], (), row[0], row[-1]) for row in sample(usable, users, seed)
    ]
    notes = ["An item without a judgement counts as not relevant, except in measures named `judged`."]
    if len(usable) < len(rows):
        notes.append(f"{len(rows) - len(usable):,} queries without a relevant item were left out.")
    description = f"{len(asked):,} judged queries" + (" of the test split" if "split" in judgements.columns else "")
    return Questions("judged", description, asked, notes=notes, judged=True)


def sample(rows: list[Any], count: int | None, seed: int) -> list[Any]:
    """Return at most ``count`` of the rows in their order, drawn at random; None for all."""
    if count is None or count >= len(rows):
        return rows
    positions = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    return [rows[position] for position in np.sort(positions)]

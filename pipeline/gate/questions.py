"""The requests of the gate, by occasion: what is known of a request, and whether its items were ever bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from common.release.catalogue import Catalogue
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import target_events
from pipeline.data.dataset.temporal_split import UserSplit, split_users
from pipeline.data.dataset.training_requests import (
    MIN_HISTORY,
    ShopRequest,
    Windows,
    request_of,
    sample_test_users,
    simulate_cold_start,
)
from pipeline.learning.examples.judged_queries import JudgedQuery, learn_and_hold_out
from pipeline.measurement.questions.protocols import Question

HISTORY: Final = "history"
QUERY: Final = "query"
BOTH: Final = "both"
NEW_USER: Final = "new user"
NEW_ITEMS: Final = "new items"
JUDGED: Final = "judged query"
# Enough to see a difference of a few hundredths; a build should not take much longer for its gate.
MAX_REQUESTS: Final = 100


@dataclass(frozen=True)
class GateQuestions:
    """The requests that releases are compared on.

    Attributes:
        by_occasion: The requests by occasion.
        time: When they are asked; tables and models must end before. None if the events have no times.
        origin: Where they come from, in words.
    """

    by_occasion: Mapping[str, Sequence[Question]]
    time: datetime | None
    origin: str

    @property
    def all(self) -> list[Question]:
        """All requests, of one occasion after the other."""
        return [question for asked in self.by_occasion.values() for question in asked]


def questions_of_windows(dataset: Dataset, windows: Windows, *, users: int, seed: int) -> GateQuestions:
    """Return requests of the users held out for the test, at the beginning of its window.

    They are asked by history, by searches made from titles that they bought next, by both, and as new users, with
    their history hidden. New items are those that nobody bought before: users who then did search for them.

    Args:
        dataset: The data, without impressions.
        windows: The windows.
        users: Maximum number of users held out.
        seed: Seed of the sample of users, and of the searches.
    """
    events, titles = dataset.events, dict(dataset.items.select("item_id", "title").iter_rows())
    asked = sample_test_users(events, windows, users, seed)
    some = asked[:: max(1, -(-len(asked) // MAX_REQUESTS))]
    searched = _searches(some, titles, seed)
    new = _searches(_buyers_of_new_items(events, windows, seed), titles, seed + 1)
    by_occasion = {
        HISTORY: [_question(HISTORY, one.user_id, request_of(one)) for one in asked],
        QUERY: [_question(QUERY, user, ShopRequest((), one.query, one.bought)) for user, one in searched.items()],
        BOTH: [_question(BOTH, user, one) for user, one in searched.items()],
        NEW_USER: [_question(NEW_USER, one.user_id, ShopRequest((), "", frozenset(one.held_out))) for one in some],
        NEW_ITEMS: [_question(NEW_ITEMS, user, one) for user, one in new.items()],
    }
    origin = f"users held out, at {windows.test:%Y-%m-%d}; searches are made of titles"
    return GateQuestions(_not_empty(by_occasion), windows.test, origin)


def questions_of_queries(queries: Sequence[JudgedQuery], catalogue: Catalogue, origin: str) -> GateQuestions:
    """Return judged queries as requests; items without a grade are not relevant.

    Args:
        queries: Queries that nothing was learned from.
        catalogue: The items.
        origin: Where they come from, in words.
    """
    asked = []
    for one in queries[:: max(1, -(-len(queries) // MAX_REQUESTS))]:
        graded = zip(one.rows.tolist(), one.grades.tolist(), strict=True)
        relevant = {catalogue.item_ids[row]: grade for row, grade in graded if row >= 0 and grade > 0}
        if relevant:
            asked.append(Question(f"{QUERY}: {one.query}", one.query, (), one.query, relevant))
    return GateQuestions(_not_empty({QUERY: asked}), None, origin)


def with_judged_queries(
    questions: GateQuestions, judgements: pl.DataFrame | None, catalogue: Catalogue, count: int
) -> GateQuestions:
    """Return the questions with the judged queries that a build of these judgements holds out, if there are any.

    Args:
        questions: Questions of windows.
        judgements: The dataset's judgements.
        catalogue: The items.
        count: Maximum number of queries that are held out, if the judgements have no split `test`.
    """
    _, held_out = learn_and_hold_out(judgements, catalogue, count)
    asked = questions_of_queries(held_out, catalogue, "").by_occasion.get(QUERY, ())
    if not asked:
        return questions
    judged = [replace(one, key=f"{JUDGED}: {one.query}") for one in asked]
    origin = f"{questions.origin}; judged queries are those held out"
    return replace(questions, by_occasion={**questions.by_occasion, JUDGED: judged}, origin=origin)


def questions_of_next_items(requests: Sequence[ShopRequest], users: Sequence[str]) -> GateQuestions:
    """Return requests for the next item of users held out, one for each user."""
    last = dict(zip(users, requests, strict=True))
    asked = [_question(HISTORY, user, one) for user, one in last.items()]
    return GateQuestions(_not_empty({HISTORY: asked}), None, "the last items of users held out")


def _searches(users: Sequence[UserSplit], titles: Mapping[str, str], seed: int) -> dict[str, ShopRequest]:
    """Return a search of each user for something that they bought next, with their history."""
    requests = [request_of(one) for one in users]
    searches = simulate_cold_start(requests, titles, searches=1.0, newcomers=0.0, seed=seed)
    return {
        user.user_id: replace(asked, query=search.query, bought=search.bought)
        for user, asked, search in zip(users, requests, searches, strict=True)
        if search.query and search.bought
    }


def _buyers_of_new_items(events: pl.DataFrame, windows: Windows, seed: int) -> list[UserSplit]:
    """Return users with a history whose window has items that nobody bought before, and these items alone."""
    known = set(target_events(events).filter(pl.col("timestamp") < windows.test)["item_id"].unique().to_list())
    buyers = [
        one._replace(held_out=one.held_out - known)
        for one in split_users(events, windows.test, windows.length, min_history=MIN_HISTORY)
        if one.held_out - known
    ]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(buyers))[:MAX_REQUESTS])
    return [buyers[place] for place in chosen]


def _question(occasion: str, user: str, request: ShopRequest) -> Question:
    return Question(
        f"{occasion}: {user}",
        user,
        request.history,
        request.query,
        dict.fromkeys(sorted(request.bought), 1.0),
        request.history_kinds,
        request.history_ages_s,
    )


def _not_empty(by_occasion: Mapping[str, Sequence[Question]]) -> dict[str, Sequence[Question]]:
    return {occasion: asked for occasion, asked in by_occasion.items() if asked}

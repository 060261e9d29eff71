"""Requests to learn from and to be judged by: a user at a moment, and what the user went on to buy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from common.errors import InvalidRequest
from pipeline.data.dataset.temporal_split import UserSplit, split_users

# Training looks at several moments, so that it does not learn what sold in one fortnight.
TRAINING_WINDOWS: Final = 3


_MIN_HISTORY: Final = 3


@dataclass(frozen=True)
class Windows:
    """The moments that part a shop's events; each window is as long as the next and begins where it ends.

    Attributes:
        length: How far ahead a request is judged.
        test: The last moment: test users are asked here, and judged by the last window.
        moments: At how many moments training users are asked.
    """

    length: timedelta
    test: datetime
    moments: int = TRAINING_WINDOWS

    @classmethod
    def of(cls, events: pl.DataFrame, days: float, moments: int = TRAINING_WINDOWS) -> Windows:
        """Lay the windows at the end of a shop's events; raises InvalidRequest where there is no room for them."""
        if "timestamp" not in events.columns:
            raise InvalidRequest("the events have no timestamp; windows of days need one")
        length = timedelta(days=days)
        first, last = events["timestamp"].min(), events["timestamp"].max()
        if not isinstance(first, datetime) or not isinstance(last, datetime):
            raise InvalidRequest("there are no events")
        windows = cls(length, last - length + timedelta(microseconds=1), moments)
        if windows.tables <= first:
            raise InvalidRequest(
                f"windows of {days:g} days reach back to {windows.tables:%Y-%m-%d}, but the events begin on "
                f"{first:%Y-%m-%d}; choose shorter windows"
            )
        return windows

    @property
    def valid(self) -> datetime:
        """The moment at which validation users are asked: their window ends before the test begins."""
        return self.test - self.length

    @property
    def training(self) -> list[datetime]:
        """The moments at which training users are asked, each window over before validation begins."""
        return [self.valid - step * self.length for step in range(self.moments, 0, -1)]

    @property
    def tables(self) -> datetime:
        """The moment up to which behaviour tables are counted: before anything that is to be foretold."""
        return self.training[0]


@dataclass(frozen=True)
class ShopRequest:
    """A user, what is searched for, and what was bought.

    Attributes:
        history: Item ids before the moment, oldest first.
        query: What is searched for; empty for nothing.
        bought: Item ids after the moment; with a query, those that it describes.
    """

    history: Sequence[str]
    query: str
    bought: frozenset[str]


@dataclass(frozen=True)
class UserSample:
    """Who is asked when: the three parts share nobody. ``train`` holds one user's requests after another's."""

    train: list[ShopRequest]
    valid: list[ShopRequest]
    test: list[UserSplit]


def sample_test_users(events: pl.DataFrame, windows: Windows, users: int, seed: int) -> list[UserSplit]:
    """Draw the users held out for the evaluation: at most ``users``, and at most half of those active."""
    asked = split_users(events, windows.test, windows.length, min_history=_MIN_HISTORY)
    count = min(users, len(asked) // 2)
    chosen = np.random.default_rng(seed).choice(len(asked), count, replace=False)
    return [asked[place] for place in np.sort(chosen)]


def sample_users(events: pl.DataFrame, windows: Windows, *, train: int, valid: int, test: int, seed: int) -> UserSample:
    """Draw users for training, validation and test, and ask each at their part's moments.

    Args:
        events: The dataset's events.
        windows: The moments.
        train: Requests for training at most, over all moments.
        valid: Users for validation at most.
        test: Users for the test at most.
        seed: Of the drawing.
    """
    chosen = sample_test_users(events, windows, test, seed)
    generator = np.random.default_rng(seed)
    taken = {example.user_id for example in chosen}
    checked = _others(events, windows.valid, windows, taken)
    checked = [checked[place] for place in generator.permutation(len(checked))[: min(valid, len(checked) // 3)]]
    taken |= {example.user_id for example in checked}
    learnt = [example for moment in windows.training for example in _others(events, moment, windows, taken)]
    learnt = _user_after_user(learnt, generator)[:train]
    return UserSample(
        [_request_of(example) for example in learnt], [_request_of(example) for example in checked], chosen
    )


@dataclass(frozen=True)
class TrainingSnapshot:
    """A moment to learn at: what stands in the tables then, and who is asked.

    Attributes:
        moment: When; tables hold what came before.
        left_out: Whose events the tables lack, so that users are learned from whom nothing was counted of.
        requests: The requests.
        checked: Of each request, whether its user is kept to calibrate and to judge.
    """

    moment: datetime
    left_out: frozenset[str]
    requests: list[ShopRequest]
    checked: list[bool]


def sample_training_snapshots(
    events: pl.DataFrame, windows: Windows, *, requests: int, valid: int, test: int, left_out: float, seed: int
) -> list[TrainingSnapshot]:
    """Draw whom to learn from at each moment, the last of which is validation.

    Users of the test are asked nowhere; users checked on are asked at validation alone.

    Args:
        events: The dataset's events.
        windows: The moments.
        requests: Requests to learn from at most, over all moments.
        valid: Users checked on at most; at most a third of those active at validation.
        test: Users of the test at most.
        left_out: The share of users that each moment's tables lack.
        seed: Of the drawing.
    """
    generator = np.random.default_rng(seed)
    kept = {example.user_id for example in sample_test_users(events, windows, test, seed)}
    users = sorted(_known(events)["user_id"].unique().to_list())
    active = _others(events, windows.valid, windows, kept)
    places = generator.permutation(len(active))[: min(valid, len(active) // 3)]
    checked = {active[place].user_id for place in places}
    seasons, moments = [], [*windows.training, windows.valid]
    for moment in moments:
        asked = _others(events, moment, windows, kept if moment == windows.valid else kept | checked)
        asked = _sample(asked, checked, requests // len(moments), generator)
        absent = generator.permutation(len(users))[: round(left_out * len(users))]
        seasons.append(
            TrainingSnapshot(
                moment,
                frozenset(users[place] for place in absent.tolist()),
                [_request_of(example) for example in asked],
                [example.user_id in checked for example in asked],
            )
        )
    return seasons


def _sample(
    asked: Sequence[UserSplit], always: Collection[str], count: int, generator: np.random.Generator
) -> list[UserSplit]:
    """Draw ``count`` of those asked, besides those who are always asked."""
    kept = [example for example in asked if example.user_id in always]
    others = [example for example in asked if example.user_id not in always]
    places = np.sort(generator.permutation(len(others))[:count])
    return [*kept, *(others[place] for place in places)]


def simulate_cold_start(
    requests: Sequence[ShopRequest], titles: Mapping[str, str], *, searches: float, newcomers: float, seed: int
) -> list[ShopRequest]:
    """Turn a share of requests into searches and another into users of whom nothing is known, as a shop meets them.

    Purchase records seldom say what was searched for. One to three words of a bought item's title stand in, and what
    was bought counts where its title has them all; half of the searches come without a history, as from a new user.
    """
    generator = np.random.default_rng(seed)
    met = []
    for request in requests:
        lot = generator.random()
        if lot < searches:
            met.append(_search(request, titles, generator))
        else:
            met.append(ShopRequest((), "", request.bought) if lot < searches + newcomers else request)
    return met


def _search(request: ShopRequest, titles: Mapping[str, str], generator: np.random.Generator) -> ShopRequest:
    known = sorted(item for item in request.bought if item in titles)
    if not known:
        return request
    words = _words(titles[str(generator.choice(known))])
    if not words:
        return request
    count = int(generator.integers(1, min(3, len(words)), endpoint=True))
    start = int(generator.integers(0, len(words) - count, endpoint=True))
    query = words[start : start + count]
    fitting = frozenset(item for item in known if set(query) <= set(_words(titles[item])))
    history = request.history if generator.random() < 0.5 else ()  # noqa: PLR2004 - half
    return ShopRequest(history, " ".join(query), fitting)


def _words(title: str) -> list[str]:
    """Return the words of a title that somebody might search for: no sizes, no single letters."""
    return [word for word in title.casefold().replace(",", " ").split() if word.isalpha() and len(word) > 1]


def _others(events: pl.DataFrame, moment: datetime, windows: Windows, taken: set[str]) -> list[UserSplit]:
    asked = split_users(events, moment, windows.length, min_history=_MIN_HISTORY)
    return [example for example in asked if example.user_id not in taken]


def _known(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(pl.col("known_user").fill_null(value=True)) if "known_user" in events.columns else events


def _user_after_user(learnt: Sequence[UserSplit], generator: np.random.Generator) -> list[UserSplit]:
    """Shuffle the users and keep each one's requests together, so that slices hardly share anybody."""
    users = sorted({example.user_id for example in learnt})
    place = dict(zip(users, generator.permutation(len(users)).tolist(), strict=True))
    return sorted(learnt, key=lambda example: place[example.user_id])


def _request_of(example: UserSplit) -> ShopRequest:
    return ShopRequest(example.history, "", frozenset(example.held_out))

"""Training, validation and test requests: a user at a time, and what the user bought next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from common.errors import InvalidRequest
from common.text import folded
from pipeline.data.dataset.event_kinds import target_events
from pipeline.data.dataset.temporal_split import UserSplit, split_users

# Training uses several times, so that it does not learn what sold in a single window.
TRAINING_WINDOWS: Final = 3

# Events before a request that its user has at least.
MIN_HISTORY: Final = 3


@dataclass(frozen=True)
class Windows:
    """The times that split a shop's events into consecutive windows of equal length.

    Attributes:
        length: Length of a window; a request's relevant items are those of one window.
        test: Start of the last window, which is for the test.
        moments: Number of training windows.
    """

    length: timedelta
    test: datetime
    moments: int = TRAINING_WINDOWS

    @classmethod
    def of(cls, events: pl.DataFrame, days: float, moments: int = TRAINING_WINDOWS) -> Windows:
        """Place the windows at the end of a shop's events; raises InvalidRequest if the events are too short."""
        if "timestamp" not in events.columns:
            raise InvalidRequest("the events have no timestamp; windows of days need one")
        length = timedelta(days=days)
        # Weights decide which other events count, and must not move the windows.
        times = target_events(events)["timestamp"]
        first, last = times.min(), times.max()
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
        """Start of the validation window, which ends where the test window starts."""
        return self.test - self.length

    @property
    def training(self) -> list[datetime]:
        """Starts of the training windows, all of which end before validation starts."""
        return [self.valid - step * self.length for step in range(self.moments, 0, -1)]

    @property
    def tables(self) -> datetime:
        """Time up to which behaviour tables count events: before all windows."""
        return self.training[0]


@dataclass(frozen=True)
class ShopRequest:
    """A user's history and query, and what the user bought.

    Attributes:
        history: Item ids before the request, oldest first.
        query: The search query, or "".
        bought: Item ids after the request; with a query, those that match it.
        history_kinds: What each event of the history was, by number; empty if all are of the target.
        history_ages_s: Seconds from each of them to the request; empty if their times are unknown.
    """

    history: Sequence[str]
    query: str
    bought: frozenset[str]
    history_kinds: Sequence[int] = ()
    history_ages_s: Sequence[float] = ()


@dataclass(frozen=True)
class UserSample:
    """Disjoint users for training, validation and test; ``train`` has the requests grouped by user."""

    train: list[ShopRequest]
    valid: list[ShopRequest]
    test: list[UserSplit]


def sample_test_users(events: pl.DataFrame, windows: Windows, users: int, seed: int) -> list[UserSplit]:
    """Sample the users held out for the evaluation: at most ``users``, and at most half of the active ones."""
    asked = split_users(events, windows.test, windows.length, min_history=MIN_HISTORY)
    count = min(users, len(asked) // 2)
    chosen = np.random.default_rng(seed).choice(len(asked), count, replace=False)
    return [asked[place] for place in np.sort(chosen)]


def sample_users(events: pl.DataFrame, windows: Windows, *, train: int, valid: int, test: int, seed: int) -> UserSample:
    """Sample disjoint users for training, validation and test, with requests at the times of each part.

    Args:
        events: The dataset's events.
        windows: The windows.
        train: Maximum number of training requests, over all windows.
        valid: Maximum number of validation users.
        test: Maximum number of test users.
        seed: Seed of the sample.
    """
    chosen = sample_test_users(events, windows, test, seed)
    generator = np.random.default_rng(seed)
    taken = {example.user_id for example in chosen}
    checked = _others(events, windows.valid, windows, taken)
    checked = [checked[place] for place in generator.permutation(len(checked))[: min(valid, len(checked) // 3)]]
    taken |= {example.user_id for example in checked}
    training = [example for moment in windows.training for example in _others(events, moment, windows, taken)]
    training = _shuffled_by_user(training, generator)[:train]
    return UserSample(
        [request_of(example) for example in training], [request_of(example) for example in checked], chosen
    )


@dataclass(frozen=True)
class TrainingSnapshot:
    """Training requests at one time, and the events that the tables have then.

    Attributes:
        moment: The time; tables have the events before it.
        left_out: Users without events in the tables, so that training also sees users who are not in them.
        requests: The requests.
        checked: For each request, whether its user is for calibration and validation.
    """

    moment: datetime
    left_out: frozenset[str]
    requests: list[ShopRequest]
    checked: list[bool]


def sample_training_snapshots(
    events: pl.DataFrame, windows: Windows, *, requests: int, valid: int, test: int, left_out: float, seed: int
) -> list[TrainingSnapshot]:
    """Sample training requests at each time, the last of which is validation.

    Test users have no requests. Validation users have requests at validation only.

    Args:
        events: The dataset's events.
        windows: The windows.
        requests: Maximum number of requests, over all times.
        valid: Maximum number of validation users; at most a third of those active at validation.
        test: Maximum number of test users.
        left_out: Share of users whose events the tables of each time lack.
        seed: Seed of the sample.
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
                [request_of(example) for example in asked],
                [example.user_id in checked for example in asked],
            )
        )
    return seasons


def _sample(
    asked: Sequence[UserSplit], always: Collection[str], count: int, generator: np.random.Generator
) -> list[UserSplit]:
    """Sample ``count`` requests, in addition to those of users in ``always``."""
    kept = [example for example in asked if example.user_id in always]
    others = [example for example in asked if example.user_id not in always]
    places = np.sort(generator.permutation(len(others))[:count])
    return [*kept, *(others[place] for place in places)]


def simulate_cold_start(
    requests: Sequence[ShopRequest], titles: Mapping[str, str], *, searches: float, newcomers: float, seed: int
) -> list[ShopRequest]:
    """Turn a share of requests into searches, and another share into requests of new users.

    Purchase records rarely have queries. One to three words of a bought item's title serve as the query, and a bought
    item counts if its title has all of them. Half of the searches have no history, as from a new user.
    """
    generator = np.random.default_rng(seed)
    simulated = []
    for request in requests:
        draw = generator.random()
        if draw < searches:
            simulated.append(_search(request, titles, generator))
        else:
            simulated.append(ShopRequest((), "", request.bought) if draw < searches + newcomers else request)
    return simulated


def _search(request: ShopRequest, titles: Mapping[str, str], generator: np.random.Generator) -> ShopRequest:
    known = sorted(item for item in request.bought if item in titles)
    if not known:
        return request
    query = title_query(titles[str(generator.choice(known))], generator)
    if not query:
        return request
    fitting = frozenset(item for item in known if set(query.split()) <= set(searchable_words(titles[item])))
    if generator.random() < 0.5:  # noqa: PLR2004 - half
        return replace(request, query=query, bought=fitting)
    return ShopRequest((), query, fitting)


def title_query(title: str, generator: np.random.Generator) -> str:
    """Return one to three consecutive words of a title as a query; empty if it has none that could be searched for."""
    words = searchable_words(title)
    if not words:
        return ""
    count = int(generator.integers(1, min(3, len(words)), endpoint=True))
    start = int(generator.integers(0, len(words) - count, endpoint=True))
    return " ".join(words[start : start + count])


def searchable_words(title: str) -> list[str]:
    """Return the words of a title that could be searched for: no sizes, no single letters."""
    return [word for word in folded(title).replace(",", " ").split() if word.isalpha() and len(word) > 1]


def _others(events: pl.DataFrame, moment: datetime, windows: Windows, taken: set[str]) -> list[UserSplit]:
    asked = split_users(events, moment, windows.length, min_history=MIN_HISTORY)
    return [example for example in asked if example.user_id not in taken]


def _known(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(pl.col("known_user").fill_null(value=True)) if "known_user" in events.columns else events


def _shuffled_by_user(training: Sequence[UserSplit], generator: np.random.Generator) -> list[UserSplit]:
    """Shuffle users and keep each one's requests together, so that slices share few users."""
    users = sorted({example.user_id for example in training})
    place = dict(zip(users, generator.permutation(len(users)).tolist(), strict=True))
    return sorted(training, key=lambda example: place[example.user_id])


def request_of(example: UserSplit) -> ShopRequest:
    """Return the request of a user without a query."""
    return ShopRequest(example.history, "", frozenset(example.held_out), example.kinds, example.ages_s)

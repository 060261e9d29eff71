"""Answers that several identical requests share: those in flight are one, and answers are kept for a time.

Requests are identical if the user, the state of the user's profile, the whole request, the rules that are applied, the
release and the variants are. So an event, a rule and a release make the next answer new.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple, Protocol

from services.gateway.profiles.profile_store import Profile, ProfileStoreUnavailable
from services.gateway.recommendation.recommender import Recommender, RecommenderOptions
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.result import RecommendResult
from services.gateway.rules.rule_book import RuleBook
from services.gateway.rules.rule_set import RuleSet

_DIGEST_BYTES: Final = 32


class Reuse(StrEnum):
    """Where an answer came from; a label of metrics."""

    HIT = "hit"
    JOIN = "join"
    MISS = "miss"
    BYPASS = "bypass"


class ProfileReader(Protocol):
    """Reads profiles; a part of ProfileStore."""

    async def read_profile(self, user_id: str, max_items: int) -> Profile:
        """See ProfileStore."""
        ...


@dataclass(frozen=True)
class AnswerCacheOptions:
    """Options of the cache.

    Attributes:
        keep_s: For how long an answer is kept, in seconds.
        max_answers: How many answers are kept at most; the oldest goes first.
        recommender: The options of the recommenders.
    """

    keep_s: float
    max_answers: int
    recommender: RecommenderOptions


class _Key(NamedTuple):
    """What identical requests share; the release is that of the latest answer."""

    user_id: str
    digest: bytes
    release_id: str


@dataclass(frozen=True)
class _Kept:
    result: RecommendResult
    at_s: float


@dataclass(eq=False)
class _Flight:
    """An answer that is being computed, until when, and how many calls wait for it."""

    task: asyncio.Task[RecommendResult]
    ends_at_s: float
    waiters: int = 0


class AnswerCache:
    """Keeps answers and joins identical requests; for use on one event loop.

    An answer with a degradation is not kept. A request with positions that are filled at random is always computed,
    and so is one whose profile or rules cannot be read.

    Args:
        profiles: The profiles.
        rules: The shop's rules.
        options: The options.
        count: Called with the outcome of each request.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        profiles: ProfileReader,
        rules: RuleBook,
        options: AnswerCacheOptions,
        count: Callable[[Reuse], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._profiles = profiles
        self._rules = rules
        self._options = options
        self._count = count
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._flights: dict[_Key, _Flight] = {}
        self._releases: dict[Recommender, str] = {}
        # Grows with each change that the key does not show: an answer that began before one is not kept.
        self._generation = 0

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._kept)

    async def recommend(
        self,
        recommender: Recommender,
        request: RecommendRequest,
        variants: Sequence[Hashable],
        remaining_s: float | None,
    ) -> RecommendResult:
        """Return an answer by a recommender; raises as `Recommender.recommend` does.

        Args:
            recommender: Computes it.
            request: The request, with what the variants changed.
            variants: The user's variants.
            remaining_s: The time of the call in seconds; None for the default.
        """
        began_s, generation = self._clock(), self._generation
        total_s = self._options.recommender.shares.default_timeout_s if remaining_s is None else remaining_s
        profile = await self._profile_for(request, total_s)
        rules = self._rules.current
        if profile is None or not self._rules.is_read:
            self._count(Reuse.BYPASS)
            return await recommender.recommend(request, self._left_s(remaining_s, began_s))
        key = self._key(recommender, request, variants, profile, rules)
        kept = self._kept.get(key)
        if kept is not None and began_s - kept.at_s < self._options.keep_s:
            self._count(Reuse.HIT)
            return self._shared(kept.result, began_s, began_s - kept.at_s)
        flight = self._flights.get(key)
        if flight is not None and flight.ends_at_s <= began_s + total_s:
            self._count(Reuse.JOIN)
            return self._shared(await self._wait(key, flight), began_s, 0.0)
        self._count(Reuse.MISS)
        profile_ms = (self._clock() - began_s) * 1e3
        work = self._compute(recommender, request, self._left_s(remaining_s, began_s), profile, rules, key, generation)
        flight = _Flight(asyncio.create_task(work), began_s + total_s)
        self._flights.setdefault(key, flight)
        return _with_profile_ms(await self._wait(key, flight), profile_ms)

    def clear(self) -> None:
        """Drop all answers, and keep none of those in flight: the release or a user's data changed."""
        self._generation += 1
        self._kept.clear()
        self._flights.clear()

    def forget_user(self, user_id: str) -> None:
        """Drop a user's answers, and keep none of those in flight."""
        self._generation += 1
        for key in [key for key in self._kept if key.user_id == user_id]:
            del self._kept[key]
        for key in [key for key in self._flights if key.user_id == user_id]:
            del self._flights[key]

    async def _profile_for(self, request: RecommendRequest, total_s: float) -> Profile | None:
        """Return the profile that an answer would go by; None if the answer cannot be shared."""
        options = self._options.recommender
        share = options.exploration_share if request.exploration_share is None else request.exploration_share
        if share:
            return None
        if not request.user_id:
            return Profile()
        timeout_s = max(0.0, total_s - options.shares.reserve_s) * options.shares.profile_share
        try:
            read = self._profiles.read_profile(request.user_id, options.history_items)
            return await asyncio.wait_for(read, timeout_s)
        except (ProfileStoreUnavailable, TimeoutError):
            return None

    def _key(
        self,
        recommender: Recommender,
        request: RecommendRequest,
        variants: Sequence[Hashable],
        profile: Profile,
        rules: RuleSet,
    ) -> _Key:
        # Rules begin and end without a new version.
        active = rules.active(request.country, request.placement, time.time_ns() // 1_000)
        parts = (request, profile, rules.version, active.rule_ids, tuple(variants), id(recommender))
        digest = blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
        return _Key(request.user_id, digest, self._releases.get(recommender, ""))

    async def _compute(
        self,
        recommender: Recommender,
        request: RecommendRequest,
        remaining_s: float | None,
        profile: Profile,
        rules: RuleSet,
        key: _Key,
        generation: int,
    ) -> RecommendResult:
        task = asyncio.current_task()
        try:
            result = await recommender.recommend(request, remaining_s, rules, profile)
            if not result.degradations and generation == self._generation:
                self._releases[recommender] = result.release_id
                self._keep(key._replace(release_id=result.release_id), result)
            return result
        finally:
            flight = self._flights.get(key)
            if flight is not None and flight.task is task:
                del self._flights[key]

    def _left_s(self, remaining_s: float | None, began_s: float) -> float | None:
        return None if remaining_s is None else max(0.0, remaining_s - (self._clock() - began_s))

    def _shared(self, result: RecommendResult, began_s: float, age_s: float) -> RecommendResult:
        """Return an answer for another request, with the time that this one took."""
        return replace(result, timings_ms={"total": (self._clock() - began_s) * 1e3}, age_s=age_s)

    def _keep(self, key: _Key, result: RecommendResult) -> None:
        now_s = self._clock()
        self._kept.pop(key, None)
        self._kept[key] = _Kept(result, now_s)  # the oldest is first
        while self._kept:
            oldest, kept = next(iter(self._kept.items()))
            if len(self._kept) <= self._options.max_answers and now_s - kept.at_s < self._options.keep_s:
                return
            del self._kept[oldest]

    async def _wait(self, key: _Key, flight: _Flight) -> RecommendResult:
        """Wait for an answer; it is given up once nobody waits for it."""
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                if self._flights.get(key) is flight:  # nobody may join it any more
                    del self._flights[key]
                flight.task.cancel()


def _with_profile_ms(result: RecommendResult, profile_ms: float) -> RecommendResult:
    """Return an answer with the time that reading the profile took before it was computed."""
    total_ms = result.timings_ms.get("total", 0.0) + profile_ms
    return replace(result, timings_ms={**result.timings_ms, "profile": profile_ms, "total": total_ms})

"""A cache of answers over a recommender that counts and can be held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from services.gateway.answers.answer_cache import AnswerCache, AnswerCacheOptions, Reuse
from services.gateway.backends.stages import UserInput
from services.gateway.candidates import Candidate, RankedCandidate
from services.gateway.profiles.profile_store import Document, Profile
from services.gateway.recommendation.recommender import RecommenderOptions
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.result import Degradation, RecommendResult
from services.gateway.rules.rule import Rule
from services.gateway.rules.rule_book import RuleBook

ANN = RecommendRequest("ann")


class _Recommender:
    """Answers with a number that grows; waits while it is held."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float | None]] = []
        self.release_id = "r1"
        self.degradations: Sequence[Degradation] = ()
        self.error: Exception | None = None
        self.free = asyncio.Event()
        self.free.set()
        self.cancelled = 0
        self.called = asyncio.Semaphore(0)

    async def recommend(
        self, request: RecommendRequest, remaining_s: float | None = None, rules: Any = None, profile: Any = None
    ) -> RecommendResult:
        del rules, profile
        self.calls.append((request.user_id, remaining_s))
        self.called.release()
        number, release_id = len(self.calls), self.release_id
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        items = [RankedCandidate(Candidate(f"answer-{number}", 1.0), 1)]
        return RecommendResult(items, [], UserInput("", []), release_id, self.degradations, {"total": 1.0}, 0, 0)


class _Store:
    """Has profiles and rules."""

    def __init__(self) -> None:
        self.profiles: dict[str, Profile] = {}
        self.rules: Sequence[Rule] = ()
        self.version = 0
        self.error: Exception | None = None

    async def read_profile(self, user_id: str, max_items: int) -> Profile:
        assert max_items == 1_000
        if self.error is not None:
            raise self.error
        return self.profiles.get(user_id, Profile())

    async def read_document(self, name: str, known_version: int = -1) -> Document | None:
        del name
        return None if known_version == self.version else Document(self.version, b"")

    async def write_document(self, name: str, content: bytes, expected_version: int) -> int | None:
        raise NotImplementedError


class _Shared:
    """A cache with what it needs.

    Attributes:
        now_s: The time that the cache sees.
        outcomes: The outcomes so far.
    """

    def __init__(self, **options: Any) -> None:
        self.now_s = 1_000.0
        self.outcomes: list[Reuse] = []
        self._counted = asyncio.Semaphore(0)
        self.store = _Store()
        self.recommender = _Recommender()
        self.rules = RuleBook(self.store, lambda _: b"", lambda _: self.store.rules)
        limits = {"keep_s": 10.0, "max_answers": 3, "recommender": RecommenderOptions(), **options}
        count, clock = self._count, lambda: self.now_s
        self.cache = AnswerCache(self.store, self.rules, AnswerCacheOptions(**limits), count, clock)

    async def ask(
        self,
        request: RecommendRequest = ANN,
        variants: Sequence[str] = (),
        remaining_s: float | None = None,
        recommender: _Recommender | None = None,
    ) -> str:
        result = await self.answer(request, variants, remaining_s, recommender)
        return result.items[0].candidate.item_id

    async def answer(
        self,
        request: RecommendRequest = ANN,
        variants: Sequence[str] = (),
        remaining_s: float | None = None,
        recommender: _Recommender | None = None,
    ) -> RecommendResult:
        chosen = cast("Any", recommender or self.recommender)
        return await self.cache.recommend(chosen, request, variants, remaining_s)

    async def started(self, calls: int) -> None:
        """Wait until that number of further calls have an outcome; then they wait for their answers."""
        for _ in range(calls):
            await self._counted.acquire()

    def _count(self, outcome: Reuse) -> None:
        self.outcomes.append(outcome)
        self._counted.release()

    async def put_rules(self, *rules: Rule) -> None:
        self.store.rules, self.store.version = rules, self.store.version + 1
        assert await self.rules.refresh()


@pytest.fixture
async def make_shared() -> Callable[..., _Shared]:
    """Return a function that makes a cache with some options; its rules were not read."""
    return _Shared


@pytest.fixture
async def shared() -> _Shared:
    """Return a cache of three answers for ten seconds."""
    found = _Shared()
    assert await found.rules.refresh()
    return found

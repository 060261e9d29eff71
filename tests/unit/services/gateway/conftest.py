"""Fake services behind the gateway on real servers, and fakes of the recommender's ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from services.gateway.backends.popular_fallback import PopularItems
from services.gateway.backends.stages import (
    RankingResult,
    RankingScores,
    RetrievalResult,
    RetrieveRequest,
    StageFailed,
    UserInput,
)
from services.gateway.candidates import Candidate
from services.gateway.profiles.profile_store import Event, Profile, RecordedCounts
from services.gateway.recommendation.deadline import DeadlineShares
from services.gateway.recommendation.recommender import Recommender, RecommenderOptions
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.result import RecommendResult
from testing.gateway_backends import Backends


@pytest.fixture
async def backends() -> AsyncIterator[Backends]:
    """Return fake retrieval and ranking services that listen."""
    both = Backends()
    await both.start()
    yield both
    await both.stop()


ITEMS = [Candidate(f"i{at}", 1.0 - at / 100, brand=f"b{at % 3}", price=float(at)) for at in range(30)]


class _FakeProfiles:
    """One profile for every user, or an error, or no answer."""

    def __init__(self) -> None:
        self.profile = Profile(["old"], None)
        self.error: Exception | None = None
        self.no_answer = False

    async def read_profile(self, user_id: str, max_items: int) -> Profile:
        assert user_id
        assert max_items == 1_000
        if self.no_answer:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self.profile

    async def record_events(self, events: Sequence[Event]) -> RecordedCounts:
        raise NotImplementedError

    async def forget_user(self, user_id: str) -> int:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class _FakeRetrieval:
    """Returns the planted items in their order, or fails; keeps the last request."""

    def __init__(self) -> None:
        self.error: StageFailed | None = None
        self.request = RetrieveRequest()
        self.timeout_s = 0.0

    async def retrieve(self, request: RetrieveRequest, timeout_s: float) -> RetrievalResult:
        self.request, self.timeout_s = request, timeout_s
        if self.error is not None:
            raise self.error
        return RetrievalResult(
            [item for item in ITEMS if item.item_id not in request.exclude][: request.limit], "r1", 2
        )


class _FakeRanking:
    """Reverses the first stage's order, or fails; keeps the requests."""

    def __init__(self) -> None:
        self.error: StageFailed | None = None
        self.requests: list[tuple[str, Sequence[str], str]] = []
        self.users: list[UserInput] = []
        self.timeout_s = 0.0

    async def rank(
        self, user: UserInput, candidates: Sequence[Candidate], release_id: str, timeout_s: float
    ) -> RankingResult:
        self.users.append(user)
        self.requests.append((user.query, user.history, release_id))
        self.timeout_s = timeout_s
        if self.error is not None:
            raise self.error
        scores = [RankingScores((at + 1) / 100, float(at)) for at in range(len(candidates))]
        return RankingResult(scores, release_id, 7)


class _FakedGateway:
    """A recommender over fakes."""

    def __init__(self) -> None:
        self.items = ITEMS
        self.profiles = _FakeProfiles()
        self.retrieval = _FakeRetrieval()
        self.ranking = _FakeRanking()
        self.popular = PopularItems(self.retrieval, 20, 60.0)
        self.recommender = Recommender(
            self.profiles,
            self.retrieval,
            self.ranking,
            self.popular,
            RecommenderOptions(shares=DeadlineShares(profile_share=0.02)),
        )

    async def recommend(self, request: RecommendRequest, remaining_s: float | None = None) -> RecommendResult:
        return await self.recommender.recommend(request, remaining_s)


@pytest.fixture
def gateway() -> _FakedGateway:
    """Return a recommender over fakes that all work."""
    return _FakedGateway()

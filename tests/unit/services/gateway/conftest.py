"""Stand-ins for what is behind the gateway: services on real servers, and fakes of the recommender's ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from services.gateway.backends.popular_fallback import PopularItems
from services.gateway.backends.stages import RankedItem, RankingResult, RetrievalResult, RetrieveRequest, StageFailed
from services.gateway.candidates import Candidate
from services.gateway.profiles.profile_store import Event, Profile, RecordedCounts
from services.gateway.recommendation.deadline import DeadlineShares
from services.gateway.recommendation.recommender import Recommender, RecommenderOptions
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.result import RecommendResult
from testing.gateway_backends import Backends


@pytest.fixture
async def backends() -> AsyncIterator[Backends]:
    """Return retrieval and ranking, listening, to be told how to behave; see testing/gateway_backends.py."""
    both = Backends()
    await both.start()
    yield both
    await both.stop()


ITEMS = [Candidate(f"i{at}", 1.0 - at / 100, brand=f"b{at % 3}", price=float(at)) for at in range(30)]


class _FakeProfiles:
    """One profile for everybody, or a failure, or silence."""

    def __init__(self) -> None:
        self.profile = Profile(["old"], None)
        self.error: Exception | None = None
        self.silent = False

    async def history(self, user_id: str, limit: int) -> Profile:
        assert user_id
        assert limit == 1_000
        if self.silent:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self.profile

    async def record(self, events: Sequence[Event]) -> RecordedCounts:
        raise NotImplementedError

    async def forget(self, user_id: str) -> int:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class _FakeRetrieval:
    """Gives the planted items in their order, or fails; remembers the last wish."""

    def __init__(self) -> None:
        self.error: StageFailed | None = None
        self.wish = RetrieveRequest()
        self.timeout_s = 0.0

    async def retrieve(self, wish: RetrieveRequest, timeout_s: float) -> RetrievalResult:
        self.wish, self.timeout_s = wish, timeout_s
        if self.error is not None:
            raise self.error
        return RetrievalResult([item for item in ITEMS if item.item_id not in wish.exclude][: wish.limit], "r1", 2)


class _FakeRanking:
    """Turns the first stage's order round, or fails; remembers what it was asked."""

    def __init__(self) -> None:
        self.error: StageFailed | None = None
        self.asked: list[tuple[str, Sequence[str], str]] = []
        self.timeout_s = 0.0

    async def rank(
        self, query: str, history: Sequence[str], candidates: Sequence[Candidate], release_id: str, timeout_s: float
    ) -> RankingResult:
        self.asked.append((query, history, release_id))
        self.timeout_s = timeout_s
        if self.error is not None:
            raise self.error
        verdicts = [RankedItem((at + 1) / 100, float(at)) for at in range(len(candidates))]
        return RankingResult(verdicts, release_id, 7)


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
            RecommenderOptions(shares=DeadlineShares(profile=0.02)),
        )

    async def ask(self, ask: RecommendRequest, remaining_s: float | None = None) -> RecommendResult:
        return await self.recommender.recommend(ask, remaining_s)


@pytest.fixture
def gateway() -> _FakedGateway:
    """Return a recommender over fakes that all work."""
    return _FakedGateway()

"""The course of a recommendation over fakes of its ports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from common.errors import NotReady, Overloaded
from common.filters import Match
from services.gateway.answer import Answer, Ask, DegradationKind, Stages
from services.gateway.deadline import Shares
from services.gateway.items import Candidate
from services.gateway.policy import Policy
from services.gateway.popular import PopularItems
from services.gateway.profiles import Event, Profile, ProfilesUnavailable, Recorded, Search
from services.gateway.recommend import Recommender, Tuning
from services.gateway.stages import (
    Found,
    Ranked,
    StageFailed,
    StageOverloaded,
    StageTooSlow,
    StageUnavailable,
    Verdict,
    Wish,
)

_ITEMS = [Candidate(f"i{at}", 1.0 - at / 100, brand=f"b{at % 3}", price=float(at)) for at in range(30)]


class _Profiles:
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

    async def record(self, events: Sequence[Event]) -> Recorded:
        raise NotImplementedError

    async def forget(self, user_id: str) -> int:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class _Retrieval:
    """Gives the planted items in their order, or fails; remembers the last wish."""

    def __init__(self) -> None:
        self.error: StageFailed | None = None
        self.wish = Wish()
        self.timeout_s = 0.0

    async def retrieve(self, wish: Wish, timeout_s: float) -> Found:
        self.wish, self.timeout_s = wish, timeout_s
        if self.error is not None:
            raise self.error
        return Found([item for item in _ITEMS if item.item_id not in wish.exclude][: wish.limit], "r1", 2)


class _Ranking:
    """Turns the first stage's order round, or fails; remembers what it was asked."""

    def __init__(self) -> None:
        self.error: StageFailed | None = None
        self.asked: list[tuple[str, Sequence[str], str]] = []
        self.timeout_s = 0.0

    async def rank(
        self, query: str, history: Sequence[str], candidates: Sequence[Candidate], release_id: str, timeout_s: float
    ) -> Ranked:
        self.asked.append((query, history, release_id))
        self.timeout_s = timeout_s
        if self.error is not None:
            raise self.error
        verdicts = [Verdict((at + 1) / 100, float(at)) for at in range(len(candidates))]
        return Ranked(verdicts, release_id, 7)


class _Gateway:
    """A recommender over fakes."""

    def __init__(self) -> None:
        self.profiles = _Profiles()
        self.retrieval = _Retrieval()
        self.ranking = _Ranking()
        self.popular = PopularItems(self.retrieval, 20, 60.0)
        self.recommender = Recommender(
            self.profiles, self.retrieval, self.ranking, self.popular, Tuning(shares=Shares(profile=0.02))
        )

    async def ask(self, ask: Ask, remaining_s: float | None = None) -> Answer:
        return await self.recommender.recommend(ask, remaining_s)


@pytest.fixture
def gateway() -> _Gateway:
    """Return a recommender over fakes that all work."""
    return _Gateway()


def _ids(answer: Answer) -> list[str]:
    return [item.candidate.item_id for item in answer.items]


def _kinds(answer: Answer) -> list[DegradationKind]:
    return [degradation.kind for degradation in answer.degradations]


async def test_the_second_stage_chooses(gateway: _Gateway):
    """A full answer is ordered by probability, keeps the first stage's rank, and nothing is degraded."""
    answer = await gateway.ask(Ask(policy=Policy(limit=2)))
    assert _ids(answer) == ["i29", "i28"]
    assert answer.items[0].first_stage_rank == 30
    assert answer.items[0].probability == pytest.approx(0.30)
    assert answer.items[0].cross_encoder_logit == pytest.approx(29)
    assert (answer.release_id, answer.ignored_history_items) == ("r1", 2)
    assert not answer.degradations
    assert set(answer.timings_ms) == {"retrieval", "ranking", "policy", "total"}


async def test_equal_probabilities_keep_the_first_stages_order(gateway: _Gateway, monkeypatch: pytest.MonkeyPatch):
    """Ties are broken by the first stage."""

    async def undecided(*parts: object) -> Ranked:
        candidates = parts[2]
        assert isinstance(candidates, list)
        return Ranked([Verdict(0.5)] * len(candidates), "r1")

    monkeypatch.setattr(gateway.ranking, "rank", undecided)
    assert _ids(await gateway.ask(Ask(policy=Policy(limit=3)))) == ["i0", "i1", "i2"]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (StageUnavailable("gone"), DegradationKind.RANKING_UNAVAILABLE),
        (StageTooSlow("late"), DegradationKind.RANKING_TOO_SLOW),
        (StageOverloaded("full"), DegradationKind.RANKING_OVERLOADED),
    ],
)
async def test_a_failed_ranker_gives_the_first_stages_order(
    gateway: _Gateway, failure: StageFailed, kind: DegradationKind
):
    """Each way in which ranking fails is named, and the answer is the first stage's."""
    gateway.ranking.error = failure
    answer = await gateway.ask(Ask(policy=Policy(limit=2)))
    assert _ids(answer) == ["i0", "i1"]
    assert _kinds(answer) == [kind]
    assert answer.items[0].probability is None
    assert answer.release_id == "r1"


async def test_a_threshold_without_probabilities_is_named(gateway: _Gateway):
    """Where nothing has a probability the threshold leaves nothing out, and the answer says so."""
    gateway.ranking.error = StageUnavailable("gone")
    answer = await gateway.ask(Ask(policy=Policy(limit=3, min_probability=0.9)))
    assert len(answer.items) == 3
    assert _kinds(answer) == [DegradationKind.RANKING_UNAVAILABLE, DegradationKind.POLICY_NOT_APPLIED]


async def test_the_threshold_leaves_items_out(gateway: _Gateway):
    """Items below the threshold are left out and counted, even where none is left."""
    answer = await gateway.ask(Ask(policy=Policy(min_probability=0.29)))
    assert _ids(answer) == ["i29", "i28"]
    assert answer.below_threshold == 28
    assert not (await gateway.ask(Ask(policy=Policy(min_probability=1.0)))).items


async def test_without_retrieval_popular_items_are_ranked(gateway: _Gateway):
    """Popular items as last seen stand in for candidates, filtered, and ranking orders them for the person."""
    await gateway.popular.refresh()
    gateway.retrieval.error = StageUnavailable("gone")
    ask = Ask(policy=Policy(limit=2), filter=Match("brand", ("b1",)), history=("h",))
    answer = await gateway.ask(ask)
    assert _ids(answer) == ["i19", "i16"]
    assert _kinds(answer) == [DegradationKind.RETRIEVAL_UNAVAILABLE]
    assert "popular items as last seen" in answer.degradations[0].detail
    assert gateway.ranking.asked == [("", ["h"], "r1")]
    assert answer.ignored_history_items == 7


async def test_without_both_services_popular_items_come_in_their_order(gateway: _Gateway):
    """With nothing behind the gateway the answer is what was popular, both failures are named, no release answered."""
    await gateway.popular.refresh()
    gateway.retrieval.error = StageTooSlow("late")
    gateway.ranking.error = StageUnavailable("gone")
    answer = await gateway.ask(Ask(policy=Policy(limit=2, blocked=frozenset({"i0"}))))
    assert _ids(answer) == ["i1", "i2"]
    assert _kinds(answer) == [DegradationKind.RETRIEVAL_UNAVAILABLE, DegradationKind.RANKING_UNAVAILABLE]
    assert answer.release_id == ""


async def test_with_nothing_to_give_the_call_fails(gateway: _Gateway):
    """Where retrieval fails and never answered before, the caller is told to come again."""
    gateway.retrieval.error = StageUnavailable("gone")
    with pytest.raises(NotReady, match="try again later"):
        await gateway.ask(Ask())


@pytest.mark.parametrize("silent", [True, False])
async def test_a_failed_profile_store_is_named(gateway: _Gateway, silent: bool):
    """Profiles that fail or stay silent leave the request's own history and query, and the answer says so."""
    gateway.profiles.silent = silent
    gateway.profiles.error = ProfilesUnavailable("the disk is gone")
    answer = await gateway.ask(Ask(user_id="u", history=("mine",), query="milk"))
    assert _kinds(answer) == [DegradationKind.PROFILE_UNAVAILABLE]
    assert ("within 20 ms" if silent else "the disk is gone") in answer.degradations[0].detail
    assert gateway.ranking.asked == [("milk", ["mine"], "r1")]
    assert len(answer.items) == 10


async def test_the_requests_history_comes_after_the_recorded_one(gateway: _Gateway):
    """Both stages are told of the recorded items first, then of the request's own."""
    await gateway.ask(Ask(user_id="u", history=("new", "new")))
    assert gateway.retrieval.wish.history == ["old", "new", "new"]
    assert gateway.ranking.asked[0][1] == ["old", "new", "new"]


async def test_the_oldest_history_is_cut_at_what_the_stages_take(gateway: _Gateway):
    """Of a history longer than the stages' limit the latest items are passed on."""
    await gateway.ask(Ask(user_id="u", history=("new",) * 10_000))
    assert gateway.retrieval.wish.history == ["new"] * 10_000


@pytest.mark.parametrize(("age_s", "query", "expected"), [(60, "", "shoes"), (7_200, "", ""), (60, "milk", "milk")])
async def test_a_recent_search_stands_in_for_a_query(gateway: _Gateway, age_s: int, query: str, expected: str):
    """What the person searched for lately is the query where the request has none."""
    searched_at_us = (time.time_ns() // 1_000) - age_s * 1_000_000
    gateway.profiles.profile = Profile([], Search("shoes", searched_at_us))
    await gateway.ask(Ask(user_id="u", query=query))
    assert gateway.retrieval.wish.query == expected


async def test_history_and_blocked_items_are_left_out_at_the_source(gateway: _Gateway):
    """Retrieval is asked not to return what the policy forbids, so that the answer is not short of items."""
    ask = Ask(history=("i29", "i28"), exclude_history=True, policy=Policy(limit=2, blocked=frozenset({"i27"})))
    assert _ids(await gateway.ask(ask)) == ["i26", "i25"]
    assert gateway.retrieval.wish.exclude == ["i27", "i28", "i29"]


async def test_more_exclusions_than_retrieval_takes_are_applied_by_the_policy(gateway: _Gateway):
    """Blocked items that do not fit into the call to retrieval are still never returned."""
    blocked = frozenset(f"x{at}" for at in range(10_000))
    ask = Ask(history=("i29",), exclude_history=True, policy=Policy(limit=1, blocked=blocked))
    assert _ids(await gateway.ask(ask)) == ["i28"]
    assert len(gateway.retrieval.wish.exclude) == 10_000


@pytest.mark.parametrize(("limit", "candidates"), [(10, 100), (80, 160), (500, 1_000)])
async def test_larger_answers_are_drawn_from_more_candidates(gateway: _Gateway, limit: int, candidates: int):
    """At least the set number of candidates is retrieved, and twice the limit where that is more."""
    await gateway.ask(Ask(policy=Policy(limit=limit)))
    assert gateway.retrieval.wish.limit == candidates


@pytest.mark.parametrize(("stages", "sources"), [(Stages.FIRST, ()), (Stages.POPULAR, ("popular",))])
async def test_the_first_stage_alone_is_never_ranked(gateway: _Gateway, stages: Stages, sources: tuple[str, ...]):
    """A caller who wants the first stage, or what is popular, gets its order without a degradation."""
    answer = await gateway.ask(Ask(stages=stages, query="milk", policy=Policy(limit=2)))
    assert _ids(answer) == ["i0", "i1"]
    assert gateway.retrieval.wish.sources == sources
    assert gateway.retrieval.wish.query == ("" if stages is Stages.POPULAR else "milk")
    assert not gateway.ranking.asked
    assert not answer.degradations


async def test_no_candidates_are_an_answer(gateway: _Gateway):
    """Where everything is excluded the answer is empty, ranking is not called, and nothing is degraded."""
    blocked = frozenset(item.item_id for item in _ITEMS)
    answer = await gateway.ask(Ask(policy=Policy(blocked=blocked, min_probability=0.5)))
    assert not answer.items
    assert not answer.degradations
    assert not gateway.ranking.asked


async def test_the_deadline_is_split(gateway: _Gateway):
    """Retrieval gets at most its share, ranking the rest less the reserve."""
    await gateway.ask(Ask(), remaining_s=1_000.0)
    assert 450 < gateway.retrieval.timeout_s <= 500
    assert 950 < gateway.ranking.timeout_s <= 1_000 - 0.02


async def test_a_retrieval_without_time_lowers_the_number_of_calls(gateway: _Gateway):
    """A first stage that is too slow makes the gateway take fewer calls at a time; one that is gone does not."""
    await gateway.popular.refresh()
    most = gateway.recommender.load.limit
    gateway.retrieval.error = StageUnavailable("gone")
    await gateway.ask(Ask())
    assert gateway.recommender.load.limit == most
    gateway.retrieval.error = StageTooSlow("late")
    await gateway.ask(Ask())
    assert gateway.recommender.load.limit < most


async def test_a_call_cancelled_at_its_deadline_teaches_the_reserve(gateway: _Gateway, monkeypatch: pytest.MonkeyPatch):
    """A caller who is gone before the answer leaves the next call with less time for its stages."""

    async def endless(*_: object) -> Ranked:
        await asyncio.Event().wait()
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(gateway.ranking, "rank", endless)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gateway.ask(Ask(), 0.11), 0.15)
    assert gateway.recommender.load.late_s >= 0.04
    await gateway.ask(Ask(), 1.0)
    assert gateway.retrieval.timeout_s < 0.48


async def test_a_caller_who_leaves_no_time_teaches_nothing(gateway: _Gateway):
    """Calls that could not have been answered in time by anybody lower nothing for the others."""
    await gateway.popular.refresh()
    most = gateway.recommender.load.limit
    gateway.retrieval.error = StageTooSlow("late")
    await gateway.ask(Ask(), 0.0)
    assert (gateway.recommender.load.limit, gateway.recommender.load.late_s) == (most, 0)


async def test_calls_beyond_the_limit_are_refused(gateway: _Gateway, monkeypatch: pytest.MonkeyPatch):
    """A call that there is no room for is refused at once and told when to come back."""
    held = asyncio.Event()

    async def wait(*_: object) -> Ranked:
        await held.wait()
        raise StageUnavailable("gone")

    monkeypatch.setattr(gateway.ranking, "rank", wait)
    calls = [asyncio.create_task(gateway.ask(Ask(), 60.0)) for _ in range(Tuning().max_calls)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="256 calls are under way"):
        await gateway.ask(Ask())
    held.set()
    await asyncio.gather(*calls)

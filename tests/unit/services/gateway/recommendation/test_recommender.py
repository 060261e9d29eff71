"""The course of a recommendation over fakes of its ports."""

from __future__ import annotations

import time
from typing import Any

import pytest

from common.errors import NotReady
from common.filters import Match
from services.gateway.backends.stages import (
    RankedItem,
    RankingResult,
    StageFailed,
    StageOverloaded,
    StageTooSlow,
    StageUnavailable,
)
from services.gateway.policy.policy import Policy
from services.gateway.profiles.profile_store import Profile, ProfileStoreUnavailable, Search
from services.gateway.recommendation.request import RecommendRequest, Stages
from services.gateway.recommendation.result import DegradationKind, RecommendResult


def _ids(answer: RecommendResult) -> list[str]:
    return [item.candidate.item_id for item in answer.items]


def _kinds(answer: RecommendResult) -> list[DegradationKind]:
    return [degradation.kind for degradation in answer.degradations]


async def test_the_second_stage_chooses(gateway: Any):
    """A full answer is ordered by probability, keeps the first stage's rank, and nothing is degraded."""
    answer = await gateway.ask(RecommendRequest(policy=Policy(limit=2)))
    assert _ids(answer) == ["i29", "i28"]
    assert answer.items[0].first_stage_rank == 30
    assert answer.items[0].probability == pytest.approx(0.30)
    assert answer.items[0].cross_encoder_logit == pytest.approx(29)
    assert (answer.release_id, answer.ignored_history_items) == ("r1", 2)
    assert not answer.degradations
    assert set(answer.timings_ms) == {"retrieval", "ranking", "policy", "total"}


async def test_equal_probabilities_keep_the_first_stages_order(gateway: Any, monkeypatch: pytest.MonkeyPatch):
    """Ties are broken by the first stage."""

    async def undecided(*parts: object) -> RankingResult:
        candidates = parts[2]
        assert isinstance(candidates, list)
        return RankingResult([RankedItem(0.5)] * len(candidates), "r1")

    monkeypatch.setattr(gateway.ranking, "rank", undecided)
    assert _ids(await gateway.ask(RecommendRequest(policy=Policy(limit=3)))) == ["i0", "i1", "i2"]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (StageUnavailable("gone"), DegradationKind.RANKING_UNAVAILABLE),
        (StageTooSlow("late"), DegradationKind.RANKING_TOO_SLOW),
        (StageOverloaded("full"), DegradationKind.RANKING_OVERLOADED),
    ],
)
async def test_a_failed_ranker_gives_the_first_stages_order(gateway: Any, failure: StageFailed, kind: DegradationKind):
    """Each way in which ranking fails is named, and the answer is the first stage's."""
    gateway.ranking.error = failure
    answer = await gateway.ask(RecommendRequest(policy=Policy(limit=2)))
    assert _ids(answer) == ["i0", "i1"]
    assert _kinds(answer) == [kind]
    assert answer.items[0].probability is None
    assert answer.release_id == "r1"


async def test_a_threshold_without_probabilities_is_named(gateway: Any):
    """Where nothing has a probability the threshold leaves nothing out, and the answer says so."""
    gateway.ranking.error = StageUnavailable("gone")
    answer = await gateway.ask(RecommendRequest(policy=Policy(limit=3, min_probability=0.9)))
    assert len(answer.items) == 3
    assert _kinds(answer) == [DegradationKind.RANKING_UNAVAILABLE, DegradationKind.POLICY_NOT_APPLIED]


async def test_the_threshold_leaves_items_out(gateway: Any):
    """Items below the threshold are left out and counted, even where none is left."""
    answer = await gateway.ask(RecommendRequest(policy=Policy(min_probability=0.29)))
    assert _ids(answer) == ["i29", "i28"]
    assert answer.below_threshold == 28
    assert not (await gateway.ask(RecommendRequest(policy=Policy(min_probability=1.0)))).items


async def test_without_retrieval_popular_items_are_ranked(gateway: Any):
    """Popular items as last seen stand in for candidates, filtered, and ranking orders them for the user."""
    await gateway.popular.refresh()
    gateway.retrieval.error = StageUnavailable("gone")
    ask = RecommendRequest(policy=Policy(limit=2), filter=Match("brand", ("b1",)), history=("h",))
    answer = await gateway.ask(ask)
    assert _ids(answer) == ["i19", "i16"]
    assert _kinds(answer) == [DegradationKind.RETRIEVAL_UNAVAILABLE]
    assert "popular items as last seen" in answer.degradations[0].detail
    assert gateway.ranking.asked == [("", ["h"], "r1")]
    assert answer.ignored_history_items == 7


async def test_without_both_services_popular_items_come_in_their_order(gateway: Any):
    """With nothing behind the gateway the answer is what was popular, both failures are named, no release answered."""
    await gateway.popular.refresh()
    gateway.retrieval.error = StageTooSlow("late")
    gateway.ranking.error = StageUnavailable("gone")
    answer = await gateway.ask(RecommendRequest(policy=Policy(limit=2, blocked=frozenset({"i0"}))))
    assert _ids(answer) == ["i1", "i2"]
    assert _kinds(answer) == [DegradationKind.RETRIEVAL_UNAVAILABLE, DegradationKind.RANKING_UNAVAILABLE]
    assert answer.release_id == ""


async def test_with_nothing_to_give_the_call_fails(gateway: Any):
    """Where retrieval fails and never answered before, the caller is told to come again."""
    gateway.retrieval.error = StageUnavailable("gone")
    with pytest.raises(NotReady, match="try again later"):
        await gateway.ask(RecommendRequest())


@pytest.mark.parametrize("silent", [True, False])
async def test_a_failed_profile_store_is_named(gateway: Any, silent: bool):
    """Profiles that fail or stay silent leave the request's own history and query, and the answer says so."""
    gateway.profiles.silent = silent
    gateway.profiles.error = ProfileStoreUnavailable("the disk is gone")
    answer = await gateway.ask(RecommendRequest(user_id="u", history=("mine",), query="milk"))
    assert _kinds(answer) == [DegradationKind.PROFILE_UNAVAILABLE]
    assert ("within 20 ms" if silent else "the disk is gone") in answer.degradations[0].detail
    assert gateway.ranking.asked == [("milk", ["mine"], "r1")]
    assert len(answer.items) == 10


async def test_the_requests_history_comes_after_the_recorded_one(gateway: Any):
    """Both stages are told of the recorded items first, then of the request's own."""
    await gateway.ask(RecommendRequest(user_id="u", history=("new", "new")))
    assert gateway.retrieval.wish.history == ["old", "new", "new"]
    assert gateway.ranking.asked[0][1] == ["old", "new", "new"]


async def test_the_oldest_history_is_cut_at_what_the_stages_take(gateway: Any):
    """Of a history longer than the stages' limit the latest items are passed on."""
    await gateway.ask(RecommendRequest(user_id="u", history=("new",) * 10_000))
    assert gateway.retrieval.wish.history == ["new"] * 10_000


@pytest.mark.parametrize(("age_s", "query", "expected"), [(60, "", "shoes"), (7_200, "", ""), (60, "milk", "milk")])
async def test_a_recent_search_stands_in_for_a_query(gateway: Any, age_s: int, query: str, expected: str):
    """What the user searched for lately is the query where the request has none."""
    searched_at_us = (time.time_ns() // 1_000) - age_s * 1_000_000
    gateway.profiles.profile = Profile([], Search("shoes", searched_at_us))
    await gateway.ask(RecommendRequest(user_id="u", query=query))
    assert gateway.retrieval.wish.query == expected


async def test_history_and_blocked_items_are_left_out_at_the_source(gateway: Any):
    """Retrieval is asked not to return what the policy forbids, so that the answer is not short of items."""
    ask = RecommendRequest(
        history=("i29", "i28"), exclude_history=True, policy=Policy(limit=2, blocked=frozenset({"i27"}))
    )
    assert _ids(await gateway.ask(ask)) == ["i26", "i25"]
    assert gateway.retrieval.wish.exclude == ["i27", "i28", "i29"]


async def test_more_exclusions_than_retrieval_takes_are_applied_by_the_policy(gateway: Any):
    """Blocked items that do not fit into the call to retrieval are still never returned."""
    blocked = frozenset(f"x{at}" for at in range(10_000))
    ask = RecommendRequest(history=("i29",), exclude_history=True, policy=Policy(limit=1, blocked=blocked))
    assert _ids(await gateway.ask(ask)) == ["i28"]
    assert len(gateway.retrieval.wish.exclude) == 10_000


@pytest.mark.parametrize(("limit", "candidates"), [(10, 100), (80, 160), (500, 1_000)])
async def test_larger_answers_are_drawn_from_more_candidates(gateway: Any, limit: int, candidates: int):
    """At least the set number of candidates is retrieved, and twice the limit where that is more."""
    await gateway.ask(RecommendRequest(policy=Policy(limit=limit)))
    assert gateway.retrieval.wish.limit == candidates


@pytest.mark.parametrize(("stages", "sources"), [(Stages.FIRST, ()), (Stages.POPULAR, ("popular",))])
async def test_the_first_stage_alone_is_never_ranked(gateway: Any, stages: Stages, sources: tuple[str, ...]):
    """A caller who wants the first stage, or what is popular, gets its order without a degradation."""
    answer = await gateway.ask(RecommendRequest(stages=stages, query="milk", policy=Policy(limit=2)))
    assert _ids(answer) == ["i0", "i1"]
    assert gateway.retrieval.wish.sources == sources
    assert gateway.retrieval.wish.query == ("" if stages is Stages.POPULAR else "milk")
    assert not gateway.ranking.asked
    assert not answer.degradations


async def test_no_candidates_are_an_answer(gateway: Any):
    """Where everything is excluded the answer is empty, ranking is not called, and nothing is degraded."""
    blocked = frozenset(item.item_id for item in gateway.items)
    answer = await gateway.ask(RecommendRequest(policy=Policy(blocked=blocked, min_probability=0.5)))
    assert not answer.items
    assert not answer.degradations
    assert not gateway.ranking.asked


async def test_the_deadline_is_split(gateway: Any):
    """Retrieval gets at most its share, ranking the rest less the reserve."""
    await gateway.ask(RecommendRequest(), remaining_s=1_000.0)
    assert 450 < gateway.retrieval.timeout_s <= 500
    assert 950 < gateway.ranking.timeout_s <= 1_000 - 0.02

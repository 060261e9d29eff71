"""The recommender over fakes of its ports."""

from __future__ import annotations

import time
from typing import Any

import pytest

from common.errors import NotReady
from common.filters import Match
from services.gateway.backends.stages import (
    RankingResult,
    RankingScores,
    StageFailed,
    StageOverloaded,
    StageTooSlow,
    StageUnavailable,
)
from services.gateway.policy.policy import Policy
from services.gateway.profiles.profile_store import Profile, ProfileStoreUnavailable, Search
from services.gateway.recommendation.request import RecommendRequest, Stages
from services.gateway.recommendation.result import DegradationKind, RecommendResult


def _ids(result: RecommendResult) -> list[str]:
    return [item.candidate.item_id for item in result.items]


def _kinds(result: RecommendResult) -> list[DegradationKind]:
    return [degradation.kind for degradation in result.degradations]


async def test_the_second_stage_chooses(gateway: Any):
    """A full answer is ordered by probability, has the first stage's ranks and no degradation."""
    answer = await gateway.recommend(RecommendRequest(policy=Policy(limit=2)))
    assert _ids(answer) == ["i29", "i28"]
    assert answer.items[0].first_stage_rank == 30
    assert answer.items[0].probability == pytest.approx(0.30)
    assert answer.items[0].cross_encoder_logit == pytest.approx(29)
    assert (answer.release_id, answer.ignored_history_items) == ("r1", 2)
    assert not answer.degradations
    assert set(answer.timings_ms) == {"retrieval", "ranking", "policy", "total"}


async def test_equal_probabilities_keep_the_first_stages_order(gateway: Any, monkeypatch: pytest.MonkeyPatch):
    """Equal probabilities are ordered by the first stage."""

    async def equal_scores(*arguments: object) -> RankingResult:
        candidates = arguments[1]
        assert isinstance(candidates, list)
        return RankingResult([RankingScores(0.5)] * len(candidates), "r1")

    monkeypatch.setattr(gateway.ranking, "rank", equal_scores)
    assert _ids(await gateway.recommend(RecommendRequest(policy=Policy(limit=3)))) == ["i0", "i1", "i2"]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (StageUnavailable("gone"), DegradationKind.RANKING_UNAVAILABLE),
        (StageTooSlow("late"), DegradationKind.RANKING_TOO_SLOW),
        (StageOverloaded("full"), DegradationKind.RANKING_OVERLOADED),
    ],
)
async def test_failed_ranking_gives_the_first_stages_order(gateway: Any, failure: StageFailed, kind: DegradationKind):
    """Each kind of failure of ranking is named, and the answer has the first stage's order."""
    gateway.ranking.error = failure
    answer = await gateway.recommend(RecommendRequest(policy=Policy(limit=2)))
    assert _ids(answer) == ["i0", "i1"]
    assert _kinds(answer) == [kind]
    assert answer.items[0].probability is None
    assert answer.release_id == "r1"


async def test_a_threshold_without_probabilities_is_not_applied(gateway: Any):
    """Without probabilities the threshold leaves nothing out, and the answer says so."""
    gateway.ranking.error = StageUnavailable("gone")
    answer = await gateway.recommend(RecommendRequest(policy=Policy(limit=3, min_probability=0.9)))
    assert len(answer.items) == 3
    assert _kinds(answer) == [DegradationKind.RANKING_UNAVAILABLE, DegradationKind.POLICY_NOT_APPLIED]


async def test_the_threshold_leaves_items_out(gateway: Any):
    """Items below the threshold are left out and counted, even if none is left."""
    answer = await gateway.recommend(RecommendRequest(policy=Policy(min_probability=0.29)))
    assert _ids(answer) == ["i29", "i28"]
    assert answer.below_threshold == 28
    assert not (await gateway.recommend(RecommendRequest(policy=Policy(min_probability=1.0)))).items


async def test_without_retrieval_popular_items_are_ranked(gateway: Any):
    """Popular items that pass the filter replace the candidates, and ranking orders them for the user."""
    await gateway.popular.refresh()
    gateway.retrieval.error = StageUnavailable("gone")
    request = RecommendRequest(policy=Policy(limit=2), filter=Match("brand", ("b1",)), history=("h",))
    answer = await gateway.recommend(request)
    assert _ids(answer) == ["i19", "i16"]
    assert _kinds(answer) == [DegradationKind.RETRIEVAL_UNAVAILABLE]
    assert "popular items from an earlier answer" in answer.degradations[0].detail
    assert gateway.ranking.requests == [("", ["h"], "r1")]
    assert answer.ignored_history_items == 7


async def test_without_both_services_popular_items_keep_their_order(gateway: Any):
    """Without both services the answer has the popular items, both degradations and no release."""
    await gateway.popular.refresh()
    gateway.retrieval.error = StageTooSlow("late")
    gateway.ranking.error = StageUnavailable("gone")
    answer = await gateway.recommend(RecommendRequest(policy=Policy(limit=2, blocked=frozenset({"i0"}))))
    assert _ids(answer) == ["i1", "i2"]
    assert _kinds(answer) == [DegradationKind.RETRIEVAL_UNAVAILABLE, DegradationKind.RANKING_UNAVAILABLE]
    assert answer.release_id == ""


async def test_without_a_fallback_the_call_fails(gateway: Any):
    """If retrieval fails and never answered before, the call fails with NotReady."""
    gateway.retrieval.error = StageUnavailable("gone")
    with pytest.raises(NotReady, match="try again later"):
        await gateway.recommend(RecommendRequest())


@pytest.mark.parametrize("no_answer", [True, False])
async def test_a_failed_profile_store_is_named(gateway: Any, no_answer: bool):
    """Without a profile the request's own history and query are used, and the answer says so."""
    gateway.profiles.no_answer = no_answer
    gateway.profiles.error = ProfileStoreUnavailable("the disk is gone")
    answer = await gateway.recommend(RecommendRequest(user_id="u", history=("mine",), query="milk"))
    assert _kinds(answer) == [DegradationKind.PROFILE_UNAVAILABLE]
    assert ("within 20 ms" if no_answer else "the disk is gone") in answer.degradations[0].detail
    assert gateway.ranking.requests == [("milk", ["mine"], "r1")]
    assert len(answer.items) == 10


async def test_the_requests_history_comes_after_the_recorded_one(gateway: Any):
    """Both stages get the recorded items first, then the request's own."""
    await gateway.recommend(RecommendRequest(user_id="u", history=("new", "new")))
    assert gateway.retrieval.request.history == ["old", "new", "new"]
    assert gateway.ranking.requests[0][1] == ["old", "new", "new"]


async def test_the_oldest_history_items_beyond_the_stages_limit_are_dropped(gateway: Any):
    """Of a history beyond the stages' limit, the latest items are passed on."""
    await gateway.recommend(RecommendRequest(user_id="u", history=("new",) * 10_000))
    assert gateway.retrieval.request.history == ["new"] * 10_000


@pytest.mark.parametrize(("age_s", "query", "expected"), [(60, "", "shoes"), (7_200, "", ""), (60, "milk", "milk")])
async def test_a_recent_search_is_the_query(gateway: Any, age_s: int, query: str, expected: str):
    """The user's recent search is the query of a request without one."""
    searched_at_us = (time.time_ns() // 1_000) - age_s * 1_000_000
    gateway.profiles.profile = Profile([], Search("shoes", searched_at_us))
    await gateway.recommend(RecommendRequest(user_id="u", query=query))
    assert gateway.retrieval.request.query == expected


async def test_retrieval_excludes_history_and_blocked_items(gateway: Any):
    """Retrieval excludes what the policy forbids, so that the answer has enough items."""
    request = RecommendRequest(
        history=("i29", "i28"), exclude_history=True, policy=Policy(limit=2, blocked=frozenset({"i27"}))
    )
    assert _ids(await gateway.recommend(request)) == ["i26", "i25"]
    sent = gateway.retrieval.request
    assert (sent.exclude, sent.exclude_history, sent.distinct_texts) == (["i27"], True, True)


async def test_exclusions_beyond_retrievals_limit_are_applied_by_the_policy(gateway: Any):
    """Blocked items that do not fit into the request to retrieval are still left out."""
    blocked = frozenset(f"x{at}" for at in range(10_000))
    request = RecommendRequest(history=("i29",), exclude_history=True, policy=Policy(limit=1, blocked=blocked))
    assert _ids(await gateway.recommend(request)) == ["i28"]
    assert len(gateway.retrieval.request.exclude) == 10_000


@pytest.mark.parametrize(("limit", "candidates"), [(10, 100), (80, 160), (500, 1_000)])
async def test_larger_answers_use_more_candidates(gateway: Any, limit: int, candidates: int):
    """The configured number of candidates is retrieved, or twice the limit if that is more."""
    await gateway.recommend(RecommendRequest(policy=Policy(limit=limit)))
    assert gateway.retrieval.request.limit == candidates


@pytest.mark.parametrize(("stages", "sources"), [(Stages.FIRST, ()), (Stages.POPULAR, ("popular",))])
async def test_the_first_stage_alone_is_never_ranked(gateway: Any, stages: Stages, sources: tuple[str, ...]):
    """A request for the first stage alone, or for popular items, gets that order without a degradation."""
    answer = await gateway.recommend(RecommendRequest(stages=stages, query="milk", policy=Policy(limit=2)))
    assert _ids(answer) == ["i0", "i1"]
    assert gateway.retrieval.request.sources == sources
    assert gateway.retrieval.request.query == ("" if stages is Stages.POPULAR else "milk")
    assert not gateway.ranking.requests
    assert not answer.degradations


async def test_an_answer_may_be_empty(gateway: Any):
    """If everything is excluded, the answer is empty without a degradation, and ranking is not called."""
    blocked = frozenset(item.item_id for item in gateway.items)
    answer = await gateway.recommend(RecommendRequest(policy=Policy(blocked=blocked, min_probability=0.5)))
    assert not answer.items
    assert not answer.degradations
    assert not gateway.ranking.requests


async def test_the_deadline_is_divided(gateway: Any):
    """Retrieval gets its share, ranking the rest less the reserve."""
    await gateway.recommend(RecommendRequest(), remaining_s=1_000.0)
    assert 450 < gateway.retrieval.timeout_s <= 500
    assert 950 < gateway.ranking.timeout_s <= 1_000 - 0.02

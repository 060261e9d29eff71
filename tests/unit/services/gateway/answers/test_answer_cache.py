"""Answers that identical requests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.gateway.answers.answer_cache import Reuse
from services.gateway.policy.policy import Policy
from services.gateway.profiles.profile_store import Profile, ProfileStoreUnavailable
from services.gateway.recommendation.recommender import RecommenderOptions
from services.gateway.recommendation.request import RecommendRequest
from services.gateway.recommendation.result import Degradation, DegradationKind
from services.gateway.rules.rule import ItemSelection, Rule, RuleKind

HIT, MISS, BYPASS = Reuse.HIT, Reuse.MISS, Reuse.BYPASS
ANN = RecommendRequest("ann")


async def test_an_identical_request_gets_the_kept_answer(shared: Any):
    """Until the time is over; it says how old it is, and its own time instead of the stages'."""
    assert await shared.ask() == "answer-1"
    shared.now_s += 9.5
    kept = await shared.answer()
    assert (kept.items[0].candidate.item_id, kept.age_s, kept.timings_ms) == ("answer-1", 9.5, {"total": 0.0})
    shared.now_s += 0.5
    again = await shared.answer()
    assert (again.items[0].candidate.item_id, again.age_s) == ("answer-2", None)
    assert shared.outcomes == [MISS, HIT, MISS]


@pytest.mark.parametrize(
    "other",
    [
        RecommendRequest("bob"),
        RecommendRequest(),
        replace(ANN, query="tea"),
        replace(ANN, history=["tea"]),
        replace(ANN, country="DE"),
        replace(ANN, candidates=50),
        replace(ANN, policy=Policy(limit=3)),
        replace(ANN, policy=Policy(blocked=frozenset({"x"}))),
    ],
)
async def test_another_request_is_computed(shared: Any, other: RecommendRequest):
    """Each field counts, the user first: nobody gets another user's answer."""
    assert [await shared.ask(each) for each in (ANN, other, ANN, other)] == [
        "answer-1",
        "answer-2",
        "answer-1",
        "answer-2",
    ]


async def test_variants_have_answers_of_their_own(shared: Any):
    """By their names, and by the recommenders that they have."""
    other = type(shared.recommender)()
    assert await shared.ask(variants=["a"]) == "answer-1"
    assert await shared.ask(variants=["b"]) == "answer-2"
    await shared.ask(variants=["a"], recommender=other)
    assert len(other.calls) == 1


async def test_an_event_makes_the_next_answer_new(shared: Any):
    """What the profile then has decides; events of others change nothing."""
    await shared.ask()
    shared.store.profiles["bob"] = Profile(["tea"], kinds=[3], occurred_at_us=[7])
    assert await shared.ask() == "answer-1"
    shared.store.profiles["ann"] = Profile(["tea"], kinds=[3], occurred_at_us=[7])
    assert await shared.ask() == "answer-2"
    shared.store.profiles["ann"] = Profile(["tea"], kinds=[3], occurred_at_us=[8])
    assert await shared.ask() == "answer-3"


async def test_a_rule_makes_the_next_answer_new(shared: Any):
    """Also one that begins or ends by itself, without a new version."""
    await shared.ask()
    await shared.put_rules(Rule("r", RuleKind.BLOCK, ItemSelection(("x",)), starts_at_us=2_000_000_000_000_000))
    assert await shared.ask() == "answer-2"
    assert await shared.ask() == "answer-2"
    shared.rules.current = type(shared.rules.current)(1, [Rule("r", RuleKind.BLOCK, ItemSelection(("x",)))])
    assert await shared.ask() == "answer-3"


async def test_a_release_makes_the_next_answer_new(shared: Any):
    """Both one that was activated, and one that another answer comes from."""
    await shared.ask()
    shared.cache.clear()
    assert await shared.ask() == "answer-2"
    shared.recommender.release_id = "r2"
    assert await shared.ask(RecommendRequest("bob")) == "answer-3"
    assert await shared.ask() == "answer-4"
    assert await shared.ask() == "answer-4"


async def test_a_forgotten_user_has_no_answers(shared: Any):
    """Neither kept ones nor those in flight; others keep theirs."""
    await shared.ask(RecommendRequest("bob"))
    await shared.ask()
    shared.cache.forget_user("ann")
    assert len(shared.cache) == 1
    shared.recommender.free.clear()
    flying = asyncio.create_task(shared.ask(replace(ANN, query="tea")))
    await shared.started(3)
    shared.cache.forget_user("ann")
    shared.recommender.free.set()
    await flying
    assert len(shared.cache) == 1
    assert await shared.ask(RecommendRequest("bob")) == "answer-1"


async def test_a_degraded_answer_is_not_kept(shared: Any):
    """The next answer may be complete."""
    shared.recommender.degradations = [Degradation(DegradationKind.RANKING_TOO_SLOW, "why")]
    await shared.ask()
    assert (await shared.ask(), len(shared.cache)) == ("answer-2", 0)


async def test_the_oldest_answers_go_first(shared: Any):
    """The options bound how many are kept, and for how long."""
    for user in "abcd":
        await shared.ask(RecommendRequest(user))
        shared.now_s += 1
    assert len(shared.cache) == 3
    assert await shared.ask(RecommendRequest("b")) == "answer-2"
    assert await shared.ask(RecommendRequest("a")) == "answer-5"
    shared.now_s += 9.5
    await shared.ask(RecommendRequest("e"))
    assert len(shared.cache) == 2  # of a and e


@pytest.mark.parametrize("error", [ProfileStoreUnavailable("down"), TimeoutError()])
async def test_without_a_profile_nothing_is_shared(shared: Any, error: Exception):
    """It is not known whether the user did something meanwhile."""
    shared.store.error = error
    assert [await shared.ask(), await shared.ask()] == ["answer-1", "answer-2"]
    assert shared.outcomes == [BYPASS, BYPASS]
    assert await shared.ask(RecommendRequest()) == await shared.ask(RecommendRequest())


async def test_random_positions_are_drawn_for_each_request(make_shared: Callable[..., Any]):
    """By the server's share or by the request's, which comes first."""
    shared = make_shared(recommender=RecommenderOptions(exploration_share=0.1))
    await shared.rules.refresh()
    await shared.ask()
    await shared.ask(replace(ANN, exploration_share=0.0))
    await shared.ask(replace(ANN, exploration_share=0.5))
    assert shared.outcomes == [BYPASS, MISS, BYPASS]


async def test_without_rules_nothing_is_shared(make_shared: Callable[..., Any]):
    """Rules that were not read yet are not known to be the same."""
    shared = make_shared()
    await shared.ask()
    assert shared.outcomes == [BYPASS]

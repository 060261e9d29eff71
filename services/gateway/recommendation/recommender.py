"""The course of a recommendation: profile, retrieval, ranking, policy, and what is done where one of them fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from services.gateway.backends.popular_fallback import SOURCE, PopularItems
from services.gateway.backends.stages import (
    RankingBackend,
    RankingResult,
    RetrievalBackend,
    RetrievalResult,
    RetrieveRequest,
    StageFailed,
    StageOverloaded,
    StageTooSlow,
)
from services.gateway.candidates import Item
from services.gateway.policy.policy import Policy, apply_policy
from services.gateway.profiles.profile_store import Profile, ProfileStore, ProfileStoreUnavailable, Search
from services.gateway.recommendation.call_trace import CallTrace
from services.gateway.recommendation.concurrency_limit import AdaptiveConcurrencyLimit
from services.gateway.recommendation.deadline import Deadline, DeadlineShares
from services.gateway.recommendation.request import RecommendRequest, Stages, UserInput
from services.gateway.recommendation.result import DegradationKind, RecommendResult

# Bounds of the backends' contracts.
_MAX_HISTORY: Final = 10_000


_MAX_EXCLUDED: Final = 10_000


_MAX_CANDIDATES: Final = 1_000


# Candidates for each item to return, at least: policy leaves some of them out.
_CANDIDATES_PER_ITEM: Final = 2


# The load is learnt from calls whose stages have so many times the reserve.
_TELLING: Final = 4


@dataclass(frozen=True)
class RecommenderOptions:
    """How recommendations are made.

    Attributes:
        candidates: How many candidates to retrieve, or twice the limit where that is more; at most 1,000.
        history_items: How many of a user's recorded items to read.
        query_carry_over_s: How long a recorded search stands in for a query that the request lacks; 0 never.
        shares: How the time is shared out.
        max_calls: How many calls may be under way at most.
        min_long_tail_share: The least share of the tail where a request does not say.
    """

    candidates: int = 100
    history_items: int = 1_000
    query_carry_over_s: float = 1_800.0
    shares: DeadlineShares = field(default_factory=DeadlineShares)
    max_calls: int = 256
    min_long_tail_share: float = 0.0


class Recommender:
    """Recommends items, and answers wherever it can: what went wrong stands in the answer.

    Args:
        profiles: What users did.
        retrieval: The first stage.
        ranking: The second stage.
        popular: What to recommend while the first stage is away.
        tuning: How to go about it.

    Attributes:
        load: What it has learnt of its load.
    """

    def __init__(
        self,
        profiles: ProfileStore,
        retrieval: RetrievalBackend,
        ranking: RankingBackend,
        popular: PopularItems,
        tuning: RecommenderOptions,
    ) -> None:
        self._profiles = profiles
        self._retrieval = retrieval
        self._ranking = ranking
        self._popular = popular
        self._tuning = tuning
        self.load = AdaptiveConcurrencyLimit(tuning.max_calls)

    async def recommend(self, ask: RecommendRequest, remaining_s: float | None = None) -> RecommendResult:
        """Recommend within ``remaining_s`` seconds, or the default where it is None.

        Raises:
            InvalidRequest: The filter names what the catalogue does not have.
            NotReady: Retrieval does not answer and never has.
            Overloaded: As many calls are under way as are answered in time.
        """
        with self.load.call():
            deadline = Deadline.of_call(time.monotonic(), remaining_s, self._tuning.shares, self.load.late_s)
            course = CallTrace(deadline)
            # A caller who leaves next to no time shall not lower the limit for all.
            telling = course.part_s(1.0) >= _TELLING * self._tuning.shares.reserve_s
            try:
                return await self._answer(ask, course)
            finally:  # also where the caller's deadline came first and the call was cancelled
                if telling:
                    self.load.observe(course.began_s, course.late_s(), starved=course.over() or course.starved)

    async def _answer(self, ask: RecommendRequest, course: CallTrace) -> RecommendResult:
        user = await self._user(ask, course)
        found = await self._find(self._wish(ask, user), course)
        ranked = await self._rank(ask, user, found, course)
        with course.stage("policy"):
            selection = apply_policy(_in_order(found, ranked), self._policy(ask, user))
        if ranked is None and found.candidates and ask.policy.min_probability > 0:
            course.degrade(DegradationKind.POLICY_NOT_APPLIED, "min_probability: no item has a probability")
        course.finish()
        return RecommendResult(
            items=selection.items,
            candidates=found.candidates,
            user=user,
            release_id=_release_id(found, ranked),
            degradations=course.degradations,
            timings_ms=course.timings_ms,
            ignored_history_items=_ignored(found, ranked),
            below_threshold=selection.below_threshold,
            swaps=selection.swaps,
        )

    def _policy(self, ask: RecommendRequest, user: UserInput) -> Policy:
        """Return the policy with the server's share of the tail where the request has none, and the history blocked.

        It is blocked here too where it is to be left out: retrieval excludes only so many.
        """
        policy = ask.policy
        if policy.min_long_tail_share is None:
            policy = replace(policy, min_long_tail_share=self._tuning.min_long_tail_share)
        return replace(policy, blocked=policy.blocked | set(user.history)) if ask.exclude_history else policy

    async def _user(self, ask: RecommendRequest, course: CallTrace) -> UserInput:
        profile = await self._profile(ask.user_id, course) if ask.user_id else Profile()
        query = ask.query or _recent(profile.last_search, self._tuning.query_carry_over_s)
        return UserInput(query, [*profile.item_ids, *ask.history][-_MAX_HISTORY:])

    async def _profile(self, user_id: str, course: CallTrace) -> Profile:
        part_s = course.part_s(self._tuning.shares.profile)
        with course.stage("profile"):
            try:
                return await asyncio.wait_for(self._profiles.history(user_id, self._tuning.history_items), part_s)
            except ProfileStoreUnavailable as error:
                reason = str(error)
            except TimeoutError:
                reason = f"the profile was not read within {part_s * 1e3:.0f} ms"
        course.degrade(DegradationKind.PROFILE_UNAVAILABLE, f"{reason}; the request's own history and query alone")
        return Profile()

    def _wish(self, ask: RecommendRequest, user: UserInput) -> RetrieveRequest:
        excluded = [*ask.policy.blocked, *(reversed(user.history) if ask.exclude_history else ())]
        return RetrieveRequest(
            query="" if ask.stages is Stages.POPULAR else user.query,
            history=user.history,
            filter=ask.filter,
            exclude=list(dict.fromkeys(excluded))[:_MAX_EXCLUDED],
            limit=max(self._tuning.candidates, min(_MAX_CANDIDATES, _CANDIDATES_PER_ITEM * ask.policy.limit)),
            sources=(SOURCE,) if ask.stages is Stages.POPULAR else (),
        )

    async def _find(self, wish: RetrieveRequest, course: CallTrace) -> RetrievalResult:
        with course.stage("retrieval"):
            try:
                return await self._retrieval.retrieve(wish, course.part_s(self._tuning.shares.retrieval))
            except StageFailed as failure:
                course.starved = isinstance(failure, StageTooSlow | StageOverloaded)
                remembered = self._popular.replaced_item_id(wish)
                course.degrade(DegradationKind.RETRIEVAL_UNAVAILABLE, f"{failure}; {remembered.note}")
                return remembered.found

    async def _rank(
        self, ask: RecommendRequest, user: UserInput, found: RetrievalResult, course: CallTrace
    ) -> RankingResult | None:
        """Rank the candidates; None where ranking is not wanted, has nothing to do, or fails."""
        if ask.stages is not Stages.BOTH or not found.candidates:
            return None
        with course.stage("ranking"):
            try:
                part_s = course.part_s(self._tuning.shares.ranking)
                return await self._ranking.rank(user.query, user.history, found.candidates, found.release_id, part_s)
            except StageFailed as failure:
                course.degrade(_kind_of(failure), f"{failure}; first-stage order")
                return None


def _recent(search: Search | None, memory_s: float) -> str:
    """Return what the user searched for where that was within the last ``memory_s`` seconds."""
    if search is None or time.time() - search.occurred_at_us / 1e6 >= memory_s:
        return ""
    return search.query


def _in_order(found: RetrievalResult, ranked: RankingResult | None) -> Sequence[Item]:
    """Return the candidates by falling probability, ties (and all, where there is none) in the first stage's order."""
    items = [Item(candidate, rank) for rank, candidate in enumerate(found.candidates, start=1)]
    if ranked is None:
        return items
    judged = [
        replace(
            item,
            probability=verdict.probability,
            cross_encoder_logit=verdict.cross_encoder_logit,
            late_score=verdict.late_score,
            tier=verdict.tier,
        )
        for item, verdict in zip(items, ranked.verdicts, strict=True)
    ]
    return sorted(judged, key=lambda item: -(item.probability or 0.0))


def _kind_of(failure: StageFailed) -> DegradationKind:
    match failure:
        case StageTooSlow():
            return DegradationKind.RANKING_TOO_SLOW
        case StageOverloaded():
            return DegradationKind.RANKING_OVERLOADED
        case _:
            return DegradationKind.RANKING_UNAVAILABLE


def _release_id(found: RetrievalResult, ranked: RankingResult | None) -> str:
    if ranked is not None:
        return ranked.release_id
    return "" if found.remembered else found.release_id


def _ignored(found: RetrievalResult, ranked: RankingResult | None) -> int:
    return ranked.ignored_history_items if found.remembered and ranked is not None else found.ignored_history_items

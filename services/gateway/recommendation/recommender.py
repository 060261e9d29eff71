"""The recommender: profile, retrieval, ranking and policy in one call, and what replaces a step that fails."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from common.release.event_weights import EventKind
from services.gateway.backends.popular_fallback import POPULAR_SOURCE, PopularItems
from services.gateway.backends.stages import (
    RankingBackend,
    RankingResult,
    RetrievalBackend,
    RetrievalResult,
    RetrieveRequest,
    StageFailed,
    StageOverloaded,
    StageTooSlow,
    UserInput,
)
from services.gateway.candidates import RankedCandidate
from services.gateway.policy.policy import Policy, apply_policy
from services.gateway.profiles.profile_store import Profile, ProfileStore, ProfileStoreUnavailable, Search
from services.gateway.recommendation.call_trace import CallTrace
from services.gateway.recommendation.concurrency_limit import AdaptiveConcurrencyLimit
from services.gateway.recommendation.deadline import Deadline, DeadlineShares
from services.gateway.recommendation.request import RecommendRequest, Stages
from services.gateway.recommendation.result import DegradationKind, RecommendResult

# Limits of the services' contracts.
_MAX_HISTORY: Final = 10_000
_MAX_EXCLUDED: Final = 10_000
_MAX_CANDIDATES: Final = 1_000

# What counts as bought: 0 is an event of unknown kind.
_BOUGHT: Final = frozenset({0, EventKind.PURCHASE, EventKind.RATING})

# At least this many candidates for each item of the answer: policy leaves some out.
_CANDIDATES_PER_ITEM: Final = 2

# A call adapts the concurrency limit only if its stages have at least this multiple of the reserve.
_MIN_TIME_IN_RESERVES: Final = 4


@dataclass(frozen=True)
class RecommenderOptions:
    """Options of the recommender.

    Attributes:
        candidates: How many candidates to retrieve, or twice the limit if that is more; at most 1,000.
        history_items: How many of a user's latest recorded items to read.
        query_carry_over_s: For how long a recorded search is used as the query of requests without one; 0: never.
        shares: How the time of a call is divided.
        max_calls: The maximum number of concurrent calls.
        min_long_tail_share: The minimum share of the long tail in requests that set none.
    """

    candidates: int = 100
    history_items: int = 1_000
    query_carry_over_s: float = 1_800.0
    shares: DeadlineShares = field(default_factory=DeadlineShares)
    max_calls: int = 256
    min_long_tail_share: float = 0.0


class Recommender:
    """Recommends items, and answers whenever it can; the answer names what failed.

    Args:
        profiles: The profile store.
        retrieval: The first stage.
        ranking: The second stage.
        popular: What to recommend while the first stage does not answer.
        options: The options.

    Attributes:
        concurrency_limit: The limit on concurrent calls.
    """

    def __init__(
        self,
        profiles: ProfileStore,
        retrieval: RetrievalBackend,
        ranking: RankingBackend,
        popular: PopularItems,
        options: RecommenderOptions,
    ) -> None:
        self._profiles = profiles
        self._retrieval = retrieval
        self._ranking = ranking
        self._popular = popular
        self._options = options
        self._shares = options.shares
        self.concurrency_limit = AdaptiveConcurrencyLimit(options.max_calls)

    async def recommend(self, request: RecommendRequest, remaining_s: float | None = None) -> RecommendResult:
        """Recommend within ``remaining_s`` seconds, or within the default timeout if it is None.

        Raises:
            InvalidRequest: The filter names an attribute that the catalogue lacks.
            NotReady: Retrieval does not answer and never has.
            Overloaded: The limit on concurrent calls is reached.
        """
        limit = self.concurrency_limit
        with limit.admit():
            deadline = Deadline.from_remaining(time.monotonic(), remaining_s, self._shares, limit.lateness_s)
            trace = CallTrace(deadline)
            # A caller that leaves almost no time must not lower the limit for all others.
            counts_for_limit = trace.timeout_s(1.0) >= _MIN_TIME_IN_RESERVES * self._shares.reserve_s
            try:
                return await self._answer(request, trace)
            finally:  # also if the caller's deadline cancelled the call
                if counts_for_limit:
                    out_of_time = trace.is_overdue() or trace.no_time_for_retrieval
                    limit.observe_call(trace.started_s, trace.lateness_s(), out_of_time=out_of_time)

    async def _answer(self, request: RecommendRequest, trace: CallTrace) -> RecommendResult:
        user = await self._user_input(request, trace)
        retrieved = await self._retrieve(self._retrieve_request(request, user), trace)
        ranking = await self._rank(request, user, retrieved, trace)
        with trace.time_stage("policy"):
            selection = apply_policy(_ranked_candidates(retrieved, ranking), self._policy(request, user))
        if ranking is None and retrieved.candidates and request.policy.min_probability > 0:
            trace.add_degradation(DegradationKind.POLICY_NOT_APPLIED, "min_probability: no item has a probability")
        trace.finish()
        return RecommendResult(
            items=selection.items,
            candidates=retrieved.candidates,
            user=user,
            release_id=_release_id(retrieved, ranking),
            degradations=trace.degradations,
            timings_ms=trace.timings_ms,
            ignored_history_items=_ignored_history_items(retrieved, ranking),
            below_threshold=selection.below_threshold,
            substitutions=selection.substitutions,
        )

    async def _user_input(self, request: RecommendRequest, trace: CallTrace) -> UserInput:
        profile = await self._profile(request.user_id, trace) if request.user_id else Profile()
        query = request.query or _recent_query(profile.last_search, self._options.query_carry_over_s)
        return _user_input(query, profile, request, time.time())

    async def _profile(self, user_id: str, trace: CallTrace) -> Profile:
        timeout_s = trace.timeout_s(self._shares.profile_share)
        with trace.time_stage("profile"):
            try:
                read = self._profiles.read_profile(user_id, self._options.history_items)
                return await asyncio.wait_for(read, timeout_s)
            except ProfileStoreUnavailable as error:
                failure = str(error)
            except TimeoutError:
                failure = f"the profile was not read within {timeout_s * 1e3:.0f} ms"
        trace.add_degradation(
            DegradationKind.PROFILE_UNAVAILABLE, f"{failure}; only the request's own history and query are used"
        )
        return Profile()

    def _retrieve_request(self, request: RecommendRequest, user: UserInput) -> RetrieveRequest:
        only_popular = request.stages is Stages.POPULAR
        excluded = [*request.policy.blocked, *reversed(_excluded(request, user))]
        return RetrieveRequest(
            query="" if only_popular else user.query,
            history=user.history,
            history_kinds=user.history_kinds,
            filter=request.filter,
            exclude=list(dict.fromkeys(excluded))[:_MAX_EXCLUDED],
            limit=max(self._options.candidates, min(_MAX_CANDIDATES, _CANDIDATES_PER_ITEM * request.policy.limit)),
            sources=(POPULAR_SOURCE,) if only_popular else (),
        )

    async def _retrieve(self, request: RetrieveRequest, trace: CallTrace) -> RetrievalResult:
        """Retrieve candidates, or popular items if retrieval fails."""
        with trace.time_stage("retrieval"):
            try:
                return await self._retrieval.retrieve(request, trace.timeout_s(self._shares.retrieval_share))
            except StageFailed as failure:
                trace.no_time_for_retrieval = isinstance(failure, StageTooSlow | StageOverloaded)
                fallback = self._popular.fallback_for(request)
                trace.add_degradation(DegradationKind.RETRIEVAL_UNAVAILABLE, f"{failure}; {fallback.note}")
                return fallback.result

    async def _rank(
        self, request: RecommendRequest, user: UserInput, retrieved: RetrievalResult, trace: CallTrace
    ) -> RankingResult | None:
        """Rank the candidates; None if ranking is not requested, has no candidates, or fails."""
        if request.stages is not Stages.BOTH or not retrieved.candidates:
            return None
        with trace.time_stage("ranking"):
            timeout_s = trace.timeout_s(self._shares.ranking_share)
            try:
                return await self._ranking.rank(user, retrieved.candidates, retrieved.release_id, timeout_s)
            except StageFailed as failure:
                trace.add_degradation(_ranking_degradation(failure), f"{failure}; the first stage's order is used")
                return None

    def _policy(self, request: RecommendRequest, user: UserInput) -> Policy:
        """Return the request's policy with the server's defaults, and with the excluded part of the history blocked.

        It is blocked here although retrieval excludes it: retrieval accepts at most 10,000 ids.
        """
        policy = request.policy
        if policy.min_long_tail_share is None:
            policy = replace(policy, min_long_tail_share=self._options.min_long_tail_share)
        excluded = _excluded(request, user)
        return replace(policy, blocked=policy.blocked | set(excluded)) if excluded else policy


def _user_input(query: str, profile: Profile, request: RecommendRequest, now_s: float) -> UserInput:
    """Join the profile and the request's own history; what the request does not say of its events is unknown."""
    recorded, given = len(profile.item_ids), len(request.history)
    kinds: Sequence[int] = ()
    if profile.kinds or request.history_kinds:
        kinds = [*(profile.kinds or (0,) * recorded), *(request.history_kinds or (0,) * given)]
    ages_s: Sequence[float] = ()
    if profile.occurred_at_us or request.history_ages_s:
        recorded_s = [max(0.0, now_s - at_us / 1e6) for at_us in profile.occurred_at_us] or [math.nan] * recorded
        ages_s = [*recorded_s, *(request.history_ages_s or [math.nan] * given)]
    history = [*profile.item_ids, *request.history]
    return UserInput(query, history[-_MAX_HISTORY:], kinds[-_MAX_HISTORY:], ages_s[-_MAX_HISTORY:])


def _excluded(request: RecommendRequest, user: UserInput) -> Sequence[str]:
    """Return the items of the history that the request leaves out, oldest first."""
    if request.exclude_history or (request.exclude_purchased and not user.history_kinds):
        return user.history
    if not request.exclude_purchased:
        return ()
    pairs = zip(user.history, user.history_kinds, strict=True)
    return [item_id for item_id, kind in pairs if kind in _BOUGHT]


def _recent_query(search: Search | None, max_age_s: float) -> str:
    """Return the query of a search that is less than ``max_age_s`` old, else an empty one."""
    if search is None or time.time() - search.occurred_at_us / 1e6 >= max_age_s:
        return ""
    return search.query


def _ranked_candidates(retrieved: RetrievalResult, ranking: RankingResult | None) -> Sequence[RankedCandidate]:
    """Return the candidates by falling probability; equal ones, and all without a ranking, in retrieval's order."""
    items = [RankedCandidate(candidate, rank) for rank, candidate in enumerate(retrieved.candidates, start=1)]
    if ranking is None:
        return items
    ranked = [
        replace(
            item,
            probability=scores.probability,
            cross_encoder_logit=scores.cross_encoder_logit,
            late_score=scores.late_score,
            tier=scores.tier,
        )
        for item, scores in zip(items, ranking.scores, strict=True)
    ]
    return sorted(ranked, key=lambda item: -(item.probability or 0.0))


def _ranking_degradation(failure: StageFailed) -> DegradationKind:
    match failure:
        case StageTooSlow():
            return DegradationKind.RANKING_TOO_SLOW
        case StageOverloaded():
            return DegradationKind.RANKING_OVERLOADED
        case _:
            return DegradationKind.RANKING_UNAVAILABLE


def _release_id(retrieved: RetrievalResult, ranking: RankingResult | None) -> str:
    if ranking is not None:
        return ranking.release_id
    return "" if retrieved.is_fallback else retrieved.release_id


def _ignored_history_items(retrieved: RetrievalResult, ranking: RankingResult | None) -> int:
    if retrieved.is_fallback and ranking is not None:
        return ranking.ignored_history_items
    return retrieved.ignored_history_items

"""The recommender: profile, retrieval, ranking and policy in one call, and what replaces a step that fails."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Final

from services.gateway.backends.popular_fallback import POPULAR_SOURCE, PopularItems
from services.gateway.backends.stages import (
    RankingBackend,
    RetrievalBackend,
    RetrieveRequest,
    UserInput,
)
from services.gateway.policy.diversity import intra_list_diversity
from services.gateway.policy.exploration import DEFAULT_POOL, Explorer
from services.gateway.policy.policy import Policy, apply_policy
from services.gateway.profiles.profile_store import Profile, ProfileStore, ProfileStoreUnavailable
from services.gateway.recommendation.call_trace import CallTrace
from services.gateway.recommendation.concurrency_limit import AdaptiveConcurrencyLimit
from services.gateway.recommendation.deadline import Deadline, DeadlineShares
from services.gateway.recommendation.ranked_candidates import (
    find_candidate,
    ignored_history_items,
    ranked_candidates,
    release_id,
    with_scores,
)
from services.gateway.recommendation.request import RecommendRequest, Stages
from services.gateway.recommendation.result import DegradationKind, ExplainResult, RecommendResult
from services.gateway.recommendation.stage_calls import StageCalls
from services.gateway.recommendation.user_input import as_searched, excluded_items, join_history, recent_query
from services.gateway.rules.application import RuledCandidates, apply_rules, place_slots, selected_items, slotted_items
from services.gateway.rules.rule import RuleKind
from services.gateway.rules.rule_book import RULES_NOT_READ, RuleBook
from services.gateway.rules.rule_set import ActiveRules, RuleSet

# Limits of the services' contracts.
_MAX_EXCLUDED: Final = 10_000
_MAX_CANDIDATES: Final = 1_000

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
        min_new_item_share: The minimum share of new items in requests that set none.
        diversity: The diversity of requests that set none, 0 to 1.
        exploration_share: The probability that a position is filled at random.
        exploration_candidates: How many of the best candidates random positions are filled from.
    """

    candidates: int = 100
    history_items: int = 1_000
    query_carry_over_s: float = 1_800.0
    shares: DeadlineShares = field(default_factory=DeadlineShares)
    max_calls: int = 256
    min_long_tail_share: float = 0.0
    min_new_item_share: float = 0.0
    diversity: float = 0.0
    exploration_share: float = 0.0
    exploration_candidates: int = DEFAULT_POOL


class Recommender:
    """Recommends items, and answers whenever it can; the answer names what failed.

    Args:
        profiles: The profile store.
        retrieval: The first stage.
        ranking: The second stage.
        popular: What to recommend while the first stage does not answer.
        options: The options.
        rules: The shop's rules; None for none.

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
        rules: RuleBook | None = None,
    ) -> None:
        self._profiles = profiles
        self._rules = rules
        self._stages = StageCalls(retrieval, ranking, popular, options.shares)
        self._options = options
        self._shares = options.shares
        self._explorer = Explorer(options.exploration_share, options.exploration_candidates)
        self.concurrency_limit = AdaptiveConcurrencyLimit(options.max_calls)

    async def recommend(
        self,
        request: RecommendRequest,
        remaining_s: float | None = None,
        rules: RuleSet | None = None,
        profile: Profile | None = None,
    ) -> RecommendResult:
        """Recommend within ``remaining_s`` seconds, or within the default timeout if it is None.

        Rules that are given are applied instead of the shop's; a profile that is given is used instead of reading it.

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
            # Batch calls wait for interactive ones, and say nothing about how these are answered.
            has_time = trace.timeout_s(1.0) >= _MIN_TIME_IN_RESERVES * self._shares.reserve_s
            counts_for_limit = has_time and not request.is_batch
            try:
                return await self._answer(request, trace, rules or await self._current_rules(trace), profile)
            finally:  # also if the caller's deadline cancelled the call
                if counts_for_limit and not trace.waited_in_vain:
                    out_of_time = trace.is_overdue() or trace.no_time_for_retrieval
                    limit.observe_call(trace.started_s, trace.lateness_s(), out_of_time=out_of_time)

    async def _answer(
        self, request: RecommendRequest, trace: CallTrace, rule_set: RuleSet, profile: Profile | None
    ) -> RecommendResult:
        rules = rule_set.active(request.country, request.placement, time.time_ns() // 1_000)
        user = await self._user_input(request, trace, profile)
        retrieved = await self._stages.retrieve(self._retrieve_request(request, user, rules), trace)
        user = as_searched(user, retrieved)
        ranking = await self._stages.rank(request, user, retrieved, trace)
        rules, faults = rules.without(retrieved.condition_faults)
        for fault in faults:
            trace.add_degradation(DegradationKind.RULES_NOT_APPLIED, fault)
        with trace.time_stage("policy"):
            ruled = apply_rules(ranked_candidates(retrieved, ranking), rules)
            policy = self._policy(request, user, ruled, rules)
            selection = apply_policy(ruled.items, policy)
            slotted = slotted_items(ruled, rules, policy.limit, policy.blocked)
            explored = self._explorer.explore(selection, policy, request.exploration_share, slotted)
            shown, placements = place_slots(explored.items, slotted, policy.limit)
        if ranking is None and retrieved.candidates and policy.min_probability > 0:
            trace.add_degradation(DegradationKind.POLICY_NOT_APPLIED, "min_probability: no item has a probability")
        trace.finish()
        return RecommendResult(
            items=shown,
            candidates=retrieved.candidates,
            user=user,
            release_id=release_id(retrieved, ranking),
            degradations=trace.degradations,
            timings_ms=trace.timings_ms,
            ignored_history_items=ignored_history_items(retrieved, ranking),
            below_threshold=selection.below_threshold,
            substitutions=selection.substitutions,
            evidence=retrieved.evidence,
            duplicates=selection.duplicates,
            tiers=() if ranking is None else ranking.tiers,
            corrected_query=retrieved.corrected_query,
            intra_list_diversity=intra_list_diversity(shown) if policy.diversity else None,
            propensities=explored.propensities_of(shown),
            pool=explored.pool,
            rules_version=rules.version,
            steps=[*ruled.steps, *placements],
            named=rules.included,
        )

    async def explain(self, request: RecommendRequest, item_id: str, remaining_s: float | None = None) -> ExplainResult:
        """Explain why an item has its place in the answer to a request, within the time of a `recommend` call.

        Raises:
            InvalidRequest, NotReady, Overloaded: As `recommend` does.
            NotFound: The item is not among the candidates.
            NotReady: Also if ranking does not answer.
        """
        limit = self.concurrency_limit
        with limit.admit():
            deadline = Deadline.from_remaining(time.monotonic(), remaining_s, self._shares, limit.lateness_s)
            trace = CallTrace(deadline)
            user = await self._user_input(request, trace)
            rule_set = await self._current_rules(trace)
            rules = rule_set.active(request.country, request.placement, time.time_ns() // 1_000)
            retrieved = await self._stages.retrieve(self._retrieve_request(request, user, rules), trace)
            user = as_searched(user, retrieved)
            item = find_candidate(retrieved, item_id)
            result = ExplainResult(
                item,
                item.first_stage_rank,
                retrieved.candidates,
                user,
                retrieved.release_id,
                retrieved.evidence,
                named=rules.included,
            )
            if request.stages is Stages.BOTH:
                explanation = await self._stages.explain_ranking(item, user, retrieved, trace)
                result = replace(
                    result,
                    item=with_scores(item, explanation.scores),
                    rank=explanation.rank,
                    release_id=explanation.release_id,
                    explanation=explanation.message,
                )
            return replace(result, degradations=trace.degradations, corrected_query=retrieved.corrected_query)

    async def _user_input(
        self, request: RecommendRequest, trace: CallTrace, profile: Profile | None = None
    ) -> UserInput:
        if profile is None:
            profile = await self._profile(request.user_id, trace) if request.user_id else Profile()
        query = request.query or recent_query(profile.last_search, self._options.query_carry_over_s)
        return join_history(query, profile, request, time.time_ns() // 1_000)

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

    async def _current_rules(self, trace: CallTrace) -> RuleSet:
        if self._rules is None:
            return RuleSet()
        if not await self._rules.read_once(trace.timeout_s(self._shares.profile_share)):
            trace.add_degradation(DegradationKind.RULES_NOT_APPLIED, RULES_NOT_READ)
        return self._rules.current

    def _retrieve_request(self, request: RecommendRequest, user: UserInput, rules: ActiveRules) -> RetrieveRequest:
        only_popular = request.stages is Stages.POPULAR
        # Whether a rule shows a bought item again is known when retrieval has returned it.
        are_shown_again = request.exclude_history or bool(rules.of_kind(RuleKind.REPURCHASE))
        bought = [] if are_shown_again else list(reversed(excluded_items(request, user)))
        excluded = dict.fromkeys([*request.policy.blocked, *bought])
        return RetrieveRequest(
            query="" if only_popular else user.query,
            history=user.history,
            is_batch=request.is_batch,
            history_kinds=user.history_kinds,
            filter=request.filter,
            exclude=list(excluded)[:_MAX_EXCLUDED],
            limit=max(
                request.candidates or self._options.candidates,
                min(_MAX_CANDIDATES, _CANDIDATES_PER_ITEM * request.policy.limit),
            ),
            sources=(POPULAR_SOURCE,) if only_popular else (),
            distinct_texts=not request.policy.keep_duplicates,
            exclude_history=request.exclude_history,
            keep_query=request.keep_query,
            vectors=bool(_or_default(request.policy.diversity, self._options.diversity)),
            include=rules.included,
            conditions=rules.conditions,
        )

    def _policy(self, request: RecommendRequest, user: UserInput, ruled: RuledCandidates, rules: ActiveRules) -> Policy:
        """Return the request's policy with the server's defaults, and with the excluded part of the history blocked.

        It is blocked here although retrieval excludes it: retrieval accepts at most 10,000 ids.
        """
        options, policy = self._options, request.policy
        policy = replace(
            policy,
            min_long_tail_share=_or_default(policy.min_long_tail_share, options.min_long_tail_share),
            min_new_item_share=_or_default(policy.min_new_item_share, options.min_new_item_share),
            diversity=_or_default(policy.diversity, options.diversity),
            min_probability=max(policy.min_probability, rules.min_probability),
        )
        excluded = set(excluded_items(request, user))
        if not request.exclude_history:
            excluded -= selected_items(ruled, rules.of_kind(RuleKind.REPURCHASE))
        return replace(policy, blocked=policy.blocked | excluded) if excluded else policy


def _or_default(given: float | None, default: float) -> float:
    return default if given is None else given

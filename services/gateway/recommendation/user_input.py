"""What the stages are told of a user: profile and request joined, and what the request leaves out of it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from common.release.event_weights import EventKind
from services.gateway.backends.stages import RetrievalResult, UserInput
from services.gateway.profiles.profile_store import Profile, Search
from services.gateway.recommendation.request import RecommendRequest

_MAX_HISTORY: Final = 10_000  # of the services' contracts
# What counts as bought: 0 is an event of unknown kind.
_BOUGHT: Final = frozenset({0, EventKind.PURCHASE, EventKind.RATING})


def join_history(query: str, profile: Profile, request: RecommendRequest, now_us: int) -> UserInput:
    """Join the profile and the request's own history; what the request does not say of its events is unknown.

    Args:
        query: The query.
        profile: The user's profile.
        request: The request.
        now_us: The time of the request in microseconds since 1970.
    """
    recorded, given = len(profile.item_ids), len(request.history)
    kinds: Sequence[int] = ()
    if profile.kinds or request.history_kinds:
        kinds = [*(profile.kinds or (0,) * recorded), *(request.history_kinds or (0,) * given)]
    ages_s: Sequence[float] = ()
    if profile.occurred_at_us or request.history_ages_s:
        recorded_s = [max(0, now_us - at_us) / 1e6 for at_us in profile.occurred_at_us] or [math.nan] * recorded
        ages_s = [*recorded_s, *(request.history_ages_s or [math.nan] * given)]
    history = [*profile.item_ids, *request.history]
    return UserInput(query, history[-_MAX_HISTORY:], kinds[-_MAX_HISTORY:], ages_s[-_MAX_HISTORY:], request.is_batch)


def excluded_items(request: RecommendRequest, user: UserInput) -> Sequence[str]:
    """Return the items of the history that the request leaves out, oldest first."""
    if request.exclude_history or (request.exclude_purchased and not user.history_kinds):
        return user.history
    if not request.exclude_purchased:
        return ()
    pairs = zip(user.history, user.history_kinds, strict=True)
    return [item_id for item_id, kind in pairs if kind in _BOUGHT]


def as_searched(user: UserInput, retrieved: RetrievalResult) -> UserInput:
    """Return the input of the second stage: the first stage may have searched for another spelling of the query."""
    return replace(user, query=retrieved.corrected_query) if retrieved.corrected_query else user


def recent_query(search: Search | None, max_age_s: float) -> str:
    """Return the query of a search that is less than ``max_age_s`` old, else an empty one."""
    if search is None or time.time() - search.occurred_at_us / 1e6 >= max_age_s:
        return ""
    return search.query

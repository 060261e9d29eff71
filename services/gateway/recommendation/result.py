"""What is asked of the gateway and what it answers, as values; how an answer tells what went wrong on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.gateway.candidates import Candidate, Item
from services.gateway.policy.long_tail import Substitution
from services.gateway.recommendation.request import UserInput


class DegradationKind(StrEnum):
    """What can go wrong while an answer is still given; named as in the contract."""

    RANKING_UNAVAILABLE = "RANKING_UNAVAILABLE"
    RANKING_TOO_SLOW = "RANKING_TOO_SLOW"
    RANKING_OVERLOADED = "RANKING_OVERLOADED"
    RETRIEVAL_UNAVAILABLE = "RETRIEVAL_UNAVAILABLE"
    PROFILE_UNAVAILABLE = "PROFILE_UNAVAILABLE"
    POLICY_NOT_APPLIED = "POLICY_NOT_APPLIED"


@dataclass(frozen=True)
class Degradation:
    """One thing that went wrong, and a sentence for operators that says what was done instead."""

    kind: DegradationKind
    detail: str


@dataclass(frozen=True)
class RecommendResult:
    """The items chosen and how they came about.

    Attributes:
        items: Best first, at most the policy's limit.
        candidates: What the first stage found, which the items were chosen from.
        user: What the stages were told.
        release_id: The release that answered; empty where no stage did.
        degradations: What went wrong, in the order it did.
        timings_ms: How long each stage took, by name, and ``total``; stages that were left out are missing.
        ignored_history_items: How many history items the release does not know.
        below_threshold: How many candidates the threshold left out.
        swaps: Which items came in for the tail's share, and which gave way.
    """

    items: Sequence[Item]
    candidates: Sequence[Candidate]
    user: UserInput
    release_id: str
    degradations: Sequence[Degradation]
    timings_ms: dict[str, float]
    ignored_history_items: int
    below_threshold: int
    swaps: Sequence[Substitution] = ()

    @property
    def long_tail_items(self) -> int:
        """How many of the items are of the long tail."""
        return sum(item.candidate.long_tail for item in self.items)

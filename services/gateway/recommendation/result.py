"""The answer of a Recommend call as values, with its degradations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from services.gateway.backends.stages import TierUse, UserInput
from services.gateway.candidates import Candidate, Evidence, RankedCandidate
from services.gateway.policy.long_tail import Substitution
from services.gateway.rules.application import PolicyStep


class DegradationKind(StrEnum):
    """What can fail while an answer is still given; named as in the contract."""

    RANKING_UNAVAILABLE = "RANKING_UNAVAILABLE"
    RANKING_TOO_SLOW = "RANKING_TOO_SLOW"
    RANKING_OVERLOADED = "RANKING_OVERLOADED"
    RETRIEVAL_UNAVAILABLE = "RETRIEVAL_UNAVAILABLE"
    PROFILE_UNAVAILABLE = "PROFILE_UNAVAILABLE"
    POLICY_NOT_APPLIED = "POLICY_NOT_APPLIED"
    RULES_NOT_APPLIED = "RULES_NOT_APPLIED"


@dataclass(frozen=True)
class Degradation:
    """One failure, with a sentence for operators on what failed and what was done instead."""

    kind: DegradationKind
    detail: str


@dataclass(frozen=True)
class RecommendResult:
    """The items chosen, and how they were chosen.

    Attributes:
        items: Best first, at most the policy's limit.
        candidates: The candidates that the items were chosen from.
        user: The query, with its spelling repaired, and the history that the stages used.
        release_id: The release that answered; empty if no stage did.
        degradations: The degradations, in the order in which they happened.
        timings_ms: How long each stage took, by name, and ``total``; skipped stages are missing.
        ignored_history_items: How many history items the release does not know.
        below_threshold: How many candidates the threshold left out.
        substitutions: Which items replaced which for a minimum share.
        evidence: What each source goes by, by source name.
        tiers: What the second stage's text tiers were planned to score and scored.
        duplicates: How many candidates were left out because a better one has the same text.
        corrected_query: The query that was used instead of the one given; empty if none was.
        rules_version: The version of the rules that were applied.
        steps: What rules changed.
        named: The items that pins and campaigns name.
        age_s: How long ago it was computed for an identical request, in seconds; 0 if both were in flight, None if it
            was computed for this request.
        intra_list_diversity: How different the items are; None without a diversity, or with fewer than two vectors.
        propensities: For each item the probability that it was put at its position; empty if no position was filled at
            random.
        pool: The ids of the items that positions were filled from, in the policy's order.
    """

    items: Sequence[RankedCandidate]
    candidates: Sequence[Candidate]
    user: UserInput
    release_id: str
    degradations: Sequence[Degradation]
    timings_ms: dict[str, float]
    ignored_history_items: int
    below_threshold: int
    substitutions: Sequence[Substitution] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    tiers: Sequence[TierUse] = ()
    duplicates: int = 0
    corrected_query: str = ""
    intra_list_diversity: float | None = None
    rules_version: int = 0
    steps: Sequence[PolicyStep] = ()
    named: Sequence[str] = ()
    age_s: float | None = None

    @property
    def new_items(self) -> int:
        """How many of the items were added since the release."""
        return sum(item.candidate.new_item for item in self.items)

    propensities: Sequence[float] = ()
    pool: Sequence[str] = ()

    @property
    def long_tail_items(self) -> int:
        """How many of the items are of the long tail."""
        return sum(item.candidate.long_tail for item in self.items)


@dataclass(frozen=True)
class ExplainResult:
    """Why one candidate has its place.

    Attributes:
        item: The candidate, with its scores.
        rank: Its position among all candidates by probability, from 1.
        candidates: All candidates.
        user: The query and history that the stages received.
        release_id: The release that answered.
        evidence: What each source goes by, by source name.
        degradations: The degradations, in the order in which they happened.
        explanation: The second stage's explanation, as its service wrote it; None if the stage was left out.
        corrected_query: The query that was used instead of the one given; empty if none was.
        named: The items that pins and campaigns name.
    """

    item: RankedCandidate
    rank: int
    candidates: Sequence[Candidate]
    user: UserInput
    release_id: str
    evidence: Mapping[str, Evidence]
    degradations: Sequence[Degradation] = ()
    explanation: object | None = None
    corrected_query: str = ""
    named: Sequence[str] = ()

"""The ports to retrieval and ranking: requests, results and failures as plain values.

Independent of gRPC: :mod:`services.gateway.backends.grpc_clients` implements the ports, and tests use fakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from common.filters import Filter
from services.gateway.candidates import Candidate, Evidence


class StageFailed(Exception):  # noqa: N818 - named for what happened, like the errors of common.errors
    """A stage did not answer; the message is a sentence for operators."""


class StageUnavailable(StageFailed):
    """The service is unreachable, failed, or answered in violation of the contract."""


class StageUnreachable(StageUnavailable):
    """No connection, or a service that is starting or draining."""


class StageTooSlow(StageFailed):
    """The service did not answer, or expected not to answer, within the stage's timeout."""


class StageUnanswered(StageTooSlow):
    """The service answered neither this call nor any other while it waited: it hangs, or the network does."""


class StageOverloaded(StageFailed):
    """The service refused the call for lack of capacity."""


@dataclass(frozen=True)
class UserInput:
    """The input of both stages for one user.

    Attributes:
        query: The query.
        history: Item ids, oldest first.
        history_kinds: What the user did with each of them, by number, 0 for unknown; empty if all are unknown.
        history_ages_s: How long ago each of them was, in seconds, NaN if unknown; empty if all are unknown.
        is_batch: Whether nobody waits for the answer, so that interactive work comes first.
    """

    query: str
    history: Sequence[str]
    history_kinds: Sequence[int] = ()
    history_ages_s: Sequence[float] = ()
    is_batch: bool = False


@dataclass(frozen=True)
class RetrieveRequest:
    """A request to the first stage; empty ``sources`` means all sources, and empty ``evidence`` any evidence.

    ``vectors`` asks for the candidates' vectors. ``include`` has items to find whatever the sources find, and
    ``conditions`` what is evaluated for each candidate.
    """

    query: str = ""
    history: Sequence[str] = ()
    filter: Filter | None = None
    exclude: Sequence[str] = ()
    limit: int = 100
    sources: Sequence[str] = ()
    distinct_texts: bool = True
    exclude_history: bool = False
    history_kinds: Sequence[int] = ()
    keep_query: bool = False
    vectors: bool = False
    include: Sequence[str] = ()
    conditions: Sequence[Filter] = ()
    evidence: Sequence[Evidence] = ()
    is_batch: bool = False


@dataclass(frozen=True)
class RetrievalResult:
    """The candidates, best first.

    Attributes:
        candidates: The candidates.
        release_id: The release that they came from.
        ignored_history_items: How many history items the release does not know.
        is_fallback: Whether these are popular items from an earlier answer, because retrieval did not answer now.
        evidence: What each source goes by, by source name; sources of which it is not known are missing.
        condition_faults: Why a condition cannot be evaluated, by its position; it holds for no candidate.
        corrected_query: The query that was searched for instead of the one given; empty if none was.
    """

    candidates: Sequence[Candidate]
    release_id: str
    ignored_history_items: int = 0
    is_fallback: bool = False
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    condition_faults: Mapping[int, str] = field(default_factory=dict)
    corrected_query: str = ""


class RankingScores(NamedTuple):
    """The second stage's scores of one candidate.

    Attributes:
        probability: The calibrated probability that the user buys it, 0 to 1.
        cross_encoder_logit: The cross-encoder's logit; None if it was not computed.
        late_score: The late-interaction score; None if it was not computed.
        tier: The tier that ranked the candidate, as numbered in the contract.
    """

    probability: float
    cross_encoder_logit: float | None = None
    late_score: float | None = None
    tier: int = 0


@dataclass(frozen=True)
class TierUse:
    """What one tier of the second stage was planned to score and what it scored.

    Attributes:
        tier: The tier, as numbered in the contract.
        planned: How many candidates it was given.
        scored: How many of them it scored.
        left_out: How many of them it did not score, for lack of time or because its model failed.
    """

    tier: int
    planned: int
    scored: int
    left_out: int


@dataclass(frozen=True)
class RankingResult:
    """The second stage's scores, one for each candidate and in the same order, and what its tiers did."""

    scores: Sequence[RankingScores]
    release_id: str
    ignored_history_items: int = 0
    tiers: Sequence[TierUse] = ()


@dataclass(frozen=True)
class RankingExplanation:
    """What decided the second stage's scores of one candidate.

    Attributes:
        scores: The candidate's scores.
        rank: Its position among all candidates by probability, from 1.
        release_id: The release that answered.
        message: The service's explanation, which the gateway passes on unread.
    """

    scores: RankingScores
    rank: int
    release_id: str
    message: object


class RetrievalBackend(Protocol):
    """The first stage."""

    async def retrieve(self, request: RetrieveRequest, timeout_s: float) -> RetrievalResult:
        """Retrieve candidates within ``timeout_s``.

        Raises:
            InvalidRequest: The caller's filter names an attribute that the catalogue lacks.
            StageFailed: The stage did not answer.
        """
        ...


class RankingBackend(Protocol):
    """The second stage."""

    async def rank(
        self, user: UserInput, candidates: Sequence[Candidate], release_id: str, timeout_s: float
    ) -> RankingResult:
        """Score candidates (at least one) of the release ``release_id`` within ``timeout_s``.

        Raises:
            StageFailed: The stage did not answer.
        """
        ...

    async def explain(
        self, user: UserInput, candidates: Sequence[Candidate], index: int, release_id: str, timeout_s: float
    ) -> RankingExplanation:
        """Explain the score of the candidate at ``index`` among the others; raises like `rank`."""
        ...

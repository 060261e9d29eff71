"""What the gateway asks of retrieval and ranking, as values and ports, and how a stage fails.

Knows nothing of grpc: :mod:`services.gateway.backends.grpc_clients` speaks to the services, tests speak to fakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from common.filters import Filter
from services.gateway.candidates import Candidate


class StageFailed(Exception):  # noqa: N818 - says what happened, as the tree of common.errors does
    """A stage did not answer; the message is a sentence for operators."""


class StageUnavailable(StageFailed):
    """The service behind the stage is unreachable, failed, or answered what the contract forbids."""


class StageTooSlow(StageFailed):
    """The stage did not answer, or would not have answered, within its part of the deadline."""


class StageOverloaded(StageFailed):
    """The service behind the stage refused for lack of capacity."""


@dataclass(frozen=True)
class RetrieveRequest:
    """What the first stage is asked for; empty ``sources`` means all of them."""

    query: str = ""
    history: Sequence[str] = ()
    filter: Filter | None = None
    exclude: Sequence[str] = ()
    limit: int = 100
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class RetrievalResult:
    """Candidates, best first.

    Attributes:
        candidates: The candidates.
        release_id: The release that they came from.
        ignored_history_items: How many items of the history that release does not know.
        remembered: Whether they were seen earlier, and the first stage did not answer now.
    """

    candidates: Sequence[Candidate]
    release_id: str
    ignored_history_items: int = 0
    remembered: bool = False


@dataclass(frozen=True)
class RankedItem:
    """What the second stage says of one candidate.

    Attributes:
        probability: 0 to 1.
        cross_encoder_logit: The cross-encoder's logit where one was computed.
        late_score: Late interaction's score, likewise.
        tier: Which tier ranked the candidate, as the contract numbers them.
    """

    probability: float
    cross_encoder_logit: float | None = None
    late_score: float | None = None
    tier: int = 0


@dataclass(frozen=True)
class RankingResult:
    """The second stage's verdicts in the order of the candidates; as many as those."""

    verdicts: Sequence[RankedItem]
    release_id: str
    ignored_history_items: int = 0


class RetrievalBackend(Protocol):
    """The first stage."""

    async def retrieve(self, wish: RetrieveRequest, timeout_s: float) -> RetrievalResult:
        """Find candidates within ``timeout_s``.

        Raises:
            InvalidRequest: The caller's filter names what the catalogue does not have.
            StageFailed: It did not answer.
        """
        ...


class RankingBackend(Protocol):
    """The second stage."""

    async def rank(
        self, query: str, history: Sequence[str], candidates: Sequence[Candidate], release_id: str, timeout_s: float
    ) -> RankingResult:
        """Give each of the candidates (at least one), found by ``release_id``, its probability within ``timeout_s``.

        Raises:
            StageFailed: It did not answer.
        """
        ...

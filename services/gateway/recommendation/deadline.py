"""One deadline, divided among the stages, with a reserve that no stage may spend.

Time that a stage does not use goes to the stages after it: each timeout is a share of the time left at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeadlineShares:
    """How the time of one call is divided.

    Attributes:
        default_timeout_s: The time of a call without a deadline.
        reserve_s: The time kept back from the stages for policy and the answer.
        profile_share: Share of the time left, less the reserve, that reading the profile may take; 0 to 1.
        retrieval_share: The same for retrieval.
        ranking_share: The same for ranking.
    """

    default_timeout_s: float = 1.0
    reserve_s: float = 0.02
    profile_share: float = 0.2
    retrieval_share: float = 0.5
    ranking_share: float = 1.0


@dataclass(frozen=True)
class Deadline:
    """When a call must be answered, in seconds of any clock that the caller chooses."""

    ends_at_s: float
    reserve_s: float

    @classmethod
    def from_remaining(
        cls, now_s: float, remaining_s: float | None, shares: DeadlineShares, lateness_s: float = 0.0
    ) -> Deadline:
        """Return the deadline of a call that arrived at ``now_s`` with ``remaining_s`` left (None: the default).

        The lateness of recent answers is added to the reserve, up to half of the call's time.
        """
        total_s = shares.default_timeout_s if remaining_s is None else remaining_s
        return cls(now_s + total_s, shares.reserve_s + min(lateness_s, total_s / 2))

    @property
    def stages_end_s(self) -> float:
        """When the stages must have ended."""
        return self.ends_at_s - self.reserve_s

    def timeout_s(self, now_s: float, share: float) -> float:
        """Return the timeout of a stage that starts now: a share of the time left less the reserve, at least 0."""
        return max(0.0, self.stages_end_s - now_s) * share

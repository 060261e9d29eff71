"""One deadline, split over the stages, with a reserve that no stage may spend.

Time that a stage leaves unspent goes to the stages after it: every part is cut from what is left at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeadlineShares:
    """How the time of one call is shared out; seconds, and shares of what is left less the reserve (0 to 1)."""

    default_s: float = 1.0
    reserve_s: float = 0.02
    profile: float = 0.2
    retrieval: float = 0.5
    ranking: float = 1.0


@dataclass(frozen=True)
class Deadline:
    """When a call must be answered, on a clock of the caller's choosing that counts seconds."""

    ends_at_s: float
    reserve_s: float

    @classmethod
    def of_call(cls, now_s: float, remaining_s: float | None, shares: DeadlineShares, late_s: float = 0.0) -> Deadline:
        """Return the deadline of a call that came in at ``now_s`` with ``remaining_s`` to go, or None.

        The reserve is as much more than that of ``shares`` as answers were late lately, up to half of the time.
        """
        total_s = shares.default_s if remaining_s is None else remaining_s
        return cls(now_s + total_s, shares.reserve_s + min(late_s, total_s / 2))

    @property
    def planned_s(self) -> float:
        """When the stages are to be done."""
        return self.ends_at_s - self.reserve_s

    def part_s(self, now_s: float, share: float) -> float:
        """Return how long a stage that begins now may take: a share of what is left less the reserve, at least 0."""
        return max(0.0, self.planned_s - now_s) * share

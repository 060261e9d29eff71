"""How the time of a call is divided between its steps.

    caller sends                                                                            caller's deadline
    |                                                                                                       |
    |-- way in --|-- features --|-- late interaction --|-- reading --|-- fusion and answer --|-- way back --|
                 |                                     |             |                       |
                now                           features_end_at   reading_ends_at           deadline

Each step may use all the time until its end; the expected time of the steps after it is kept back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from common.errors import DeadlineTooShort
from common.latency import LatencyEstimate, LatenessReserve

# The share of a call's time that is kept back for its way in, which the server cannot see (gRPC tells it the time that
# was left when the call was sent), and for the answer's way back; within bounds in seconds. Under load every call is
# read as long as there is time, so too little here makes many calls late at once.
_RETURN_SHARE: Final = 0.05
_RETURN_BOUNDS_S: Final = (0.002, 0.05)
# Kept back for fusion and answer until it is known how long these take.
_FIRST_RESERVE_S: Final = 0.005
# At most this share of the time left is kept back after reading, so that calls with little time are read too.
_MAX_RESERVE_SHARE: Final = 0.25


def usable_s(remaining_s: float) -> float:
    """Return how many of a call's remaining seconds the server may use before the answer's way back."""
    min_s, max_s = _RETURN_BOUNDS_S
    return remaining_s - min(max(_RETURN_SHARE * remaining_s, min_s), max_s)


@dataclass(frozen=True)
class TimeBudget:
    """How the time of one call is divided. Points in time are seconds of the monotonic clock.

    Attributes:
        deadline: When the answer must leave the server; see `usable_s`.
        now: When the budget was made.
        features_s: How long the features are expected to take.
        fusion_s: How long the fusion after reading is expected to take.
        reserve_s: The recent maximum of the time between the last pair read and the answer.
    """

    deadline: float
    now: float
    features_s: float
    fusion_s: float
    reserve_s: float

    @property
    def left_s(self) -> float:
        """How much time is left; below 0 past the deadline."""
        return self.deadline - self.now

    @property
    def features_end_at(self) -> float:
        """When features and late interaction must be done."""
        return self.deadline - self.fusion_s

    @property
    def reading_ends_at(self) -> float:
        """When the cross-encoder must have read the last pair."""
        return self.deadline - self._kept_back(max(self.fusion_s, self.reserve_s))

    @property
    def answer_starts_at(self) -> float:
        """When the last pair must have been read by the reserve alone, whatever the fusion takes."""
        return self.deadline - self._kept_back(self.reserve_s)

    def require_features(self, candidates: int) -> None:
        """Raise DeadlineTooShort if the features of the candidates do not fit."""
        if self.left_s < self.features_s:
            raise DeadlineTooShort(
                f"{candidates} candidates cannot be ranked within {max(self.left_s, 0.0):.3f} s, even without the "
                "cross-encoder; allow more time or rank fewer"
            )

    def _kept_back(self, seconds: float) -> float:
        return min(seconds, _MAX_RESERVE_SHARE * max(self.left_s, 0.0))


class StepTimes:
    """How long the steps of a call take, learned from earlier calls. Races between threads lose a sample at worst.

    Attributes:
        features: Features by candidates.
        fusion: The fusion after reading by pairs.
        after_reading: From the last pair read to the answer; every answer must be observed.
    """

    def __init__(self) -> None:
        self.features = LatencyEstimate()
        self.fusion = LatencyEstimate()
        self.after_reading = LatenessReserve(_FIRST_RESERVE_S)

    def budget(self, deadline: float, candidates: int, pairs: int) -> TimeBudget:
        """Return the time budget, as of now, of a call that ranks ``candidates`` and reads at most ``pairs``."""
        return TimeBudget(
            deadline,
            time.monotonic(),
            self.features.expected_s(candidates),
            self.fusion.expected_s(pairs),
            self.after_reading.seconds,
        )

    @contextmanager
    def observe_cancellation(self, budget: TimeBudget) -> Iterator[None]:
        """Learn from a body that is cancelled past its deadline: reading must end that much earlier."""
        try:
            yield
        except asyncio.CancelledError:
            if (now := time.monotonic()) > budget.deadline:
                self.after_reading.observe(now - budget.answer_starts_at)
            raise

"""How hard the graph is searched: less where answers come late, and slowly back to all of it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

# A decision is made from what half a second saw, and not from a few answers.
_EVERY_S: Final = 0.5


_FEW: Final = 20


# The target is missed where more than a twentieth of the answers came later.
_LATE_SHARE: Final = 0.05


_SHED: Final = 0.8


_RECOVER: Final = 0.02


class AdaptiveEfSearch:
    """Controls `ef_search`: multiplied down when the latency target is missed, added up again while it is met.

    Fast down and slowly up, as TCP does with its window (Chiu and Jain 1989,
    https://doi.org/10.1016/0169-7552(89)90019-6), so that it settles just below what the machine can do.

    Args:
        full: The `ef_search` of an unhurried server.
        least: Never below this.
        target_s: The latency that 95 % of answers should have, in seconds; infinite for no control.
        apply: Told each new value.
        clock: Seconds.
    """

    def __init__(
        self,
        full: int,
        least: int,
        target_s: float,
        apply: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._full = full
        self._least = min(least, full)
        self._target_s = target_s
        self._apply = apply
        self._clock = clock
        self._lock = threading.Lock()
        self._ef_search = full
        self._begin()

    @property
    def ef_search(self) -> int:
        """The value in force."""
        return self._ef_search

    def observe(self, answer_s: float) -> None:
        """Take note of how long an answer took from the request's arrival, in seconds."""
        if math.isinf(self._target_s):
            return
        with self._lock:
            self._answers += 1
            self._late += answer_s > self._target_s
            if self._clock() < self._ends or self._answers < _FEW:
                return
            decided = self._decide()
            self._begin()
            if decided == self._ef_search:
                return
            self._ef_search = decided
            self._apply(decided)

    def _begin(self) -> None:
        self._answers, self._late, self._ends = 0, 0, self._clock() + _EVERY_S

    def _decide(self) -> int:
        if self._late > _LATE_SHARE * self._answers:
            return max(self._least, int(self._ef_search * _SHED))
        return min(self._full, self._ef_search + max(1, int(self._full * _RECOVER)))

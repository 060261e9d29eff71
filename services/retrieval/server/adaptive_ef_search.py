"""Adapts HNSW's `ef_search` to the load: lower while responses are late, and slowly back to its full value."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

# A decision is made from at least half a second and 20 responses.
_PERIOD_S: Final = 0.5
_MIN_RESPONSES: Final = 20
# The target is the 95th percentile.
_MAX_LATE_SHARE: Final = 0.05
_DECREASE_FACTOR: Final = 0.8
# Of the full value.
_INCREASE_SHARE: Final = 0.02


class AdaptiveEfSearch:
    """Controls `ef_search` by additive increase and multiplicative decrease (AIMD), as TCP controls its window.

    The fast decrease and slow increase settle just below what the machine can do (Chiu and Jain 1989,
    https://doi.org/10.1016/0169-7552(89)90019-6).

    Args:
        max_ef_search: The full value, used without load.
        min_ef_search: The lowest value.
        target_s: The latency that 95 % of responses should keep, in seconds; infinite for no control.
        apply: Called with each new value.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        max_ef_search: int,
        min_ef_search: int,
        target_s: float,
        apply: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max = max_ef_search
        self._min = min(min_ef_search, max_ef_search)
        self._target_s = target_s
        self._apply = apply
        self._clock = clock
        self._lock = threading.Lock()
        self._ef_search = max_ef_search
        self._start_period()

    @property
    def ef_search(self) -> int:
        """The present value."""
        return self._ef_search

    def observe(self, latency_s: float) -> None:
        """Record how long a response took, in seconds, and adapt `ef_search` at the end of a period."""
        if math.isinf(self._target_s):
            return
        with self._lock:
            self._responses += 1
            self._late += latency_s > self._target_s
            if self._clock() < self._period_end_s or self._responses < _MIN_RESPONSES:
                return
            ef_search = self._adapted()
            self._start_period()
            if ef_search == self._ef_search:
                return
            self._ef_search = ef_search
            self._apply(ef_search)

    def _start_period(self) -> None:
        self._responses, self._late, self._period_end_s = 0, 0, self._clock() + _PERIOD_S

    def _adapted(self) -> int:
        if self._late > _MAX_LATE_SHARE * self._responses:
            return max(self._min, int(self._ef_search * _DECREASE_FACTOR))
        return min(self._max, self._ef_search + max(1, int(self._max * _INCREASE_SHARE)))

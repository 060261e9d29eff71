"""How many calls the gateway takes at a time, and what time it keeps back, learnt from how late its answers were.

The limit rises by about one for as many calls in time as it allows, and falls by a share when a call was late: additive
increase and multiplicative decrease, as in TCP (Chiu and Jain, 1989), once for the calls that were under way together.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from common.errors import Overloaded
from common.latency import LatenessReserve

_LEAST_CALLS: Final = 8


_FALL: Final = 0.9


class AdaptiveConcurrencyLimit:
    """What the gateway has learnt of its load; lives on one event loop.

    Args:
        max_calls: How many calls may be under way at most.
    """

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._limit = float(max_calls)
        self._calls = 0
        self._fell_at_s = 0.0
        self._late = LatenessReserve()

    @property
    def limit(self) -> int:
        """How many calls may be under way now."""
        return int(self._limit)

    @property
    def late_s(self) -> float:
        """By how many seconds answers lately came later than planned; the recent and the worst weigh most."""
        return self._late.seconds

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count the body as a call under way; raises Overloaded where there are as many as may be."""
        if self._calls >= self.limit:
            raise Overloaded(
                f"{self._calls} calls are under way, as many as are answered in time; call again later",
                retry_after_s=max(0.1, self.late_s),
            )
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    def observe(self, began_s: float, late_s: float, *, starved: bool) -> None:
        """Learn from a call that ended.

        Args:
            began_s: When it began, in seconds of the monotonic clock.
            late_s: How much later than planned it ended; below 0 where it was early.
            starved: Whether it got no answer in time, or no candidates for lack of time.
        """
        self._late.observe(late_s)
        if not starved:
            self._limit = min(float(self._max_calls), self._limit + 1.0 / self._limit)
        elif began_s >= self._fell_at_s:
            self._fell_at_s = time.monotonic()
            self._limit = max(float(_LEAST_CALLS), _FALL * min(self._limit, self._calls))

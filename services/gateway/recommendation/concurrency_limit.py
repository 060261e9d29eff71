"""A limit on concurrent calls, adapted to how late answers are (AIMD).

The limit rises by about one for each full round of calls that are in time, and falls by a tenth when a call has no
time: additive increase and multiplicative decrease, as in TCP (Chiu and Jain, 1989). Calls that ran together lower it
once.
"""

# retrieval/server/adaptive_ef_search.py adapts by the same rule, but shares nothing worth a common class: it decides by
# the share of late answers in half a second and steps in whole values of ef_search, and this one decides call by call.

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from common.errors import Overloaded
from common.latency import LatenessReserve

_MIN_LIMIT: Final = 8
_DECREASE: Final = 0.9


class AdaptiveConcurrencyLimit:
    """Limits concurrent calls to what is answered in time; for use on one event loop.

    Args:
        max_calls: The largest limit, and the first.
    """

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._limit = float(max_calls)
        self._in_flight = 0
        self._lowered_at_s = 0.0
        self._lateness = LatenessReserve()

    @property
    def limit(self) -> int:
        """The current limit."""
        return int(self._limit)

    @property
    def lateness_s(self) -> float:
        """By how many seconds recent answers were late: the largest value, which fades with later answers."""
        return self._lateness.seconds

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count the body as a call in flight; raises Overloaded if the limit is reached."""
        if self._in_flight >= self.limit:
            raise Overloaded(
                f"{self._in_flight} calls are in flight, the most that are answered in time; try again later",
                retry_after_s=max(0.1, self.lateness_s),
            )
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    def observe_call(self, started_s: float, lateness_s: float, *, out_of_time: bool) -> None:
        """Adapt the limit to a call that has ended.

        Args:
            started_s: When it started, in seconds of the monotonic clock.
            lateness_s: By how many seconds it ended later than planned; negative if earlier.
            out_of_time: Whether it missed its deadline, or retrieval had no time for it.
        """
        self._lateness.observe(lateness_s)
        if not out_of_time:
            self._limit = min(float(self._max_calls), self._limit + 1.0 / self._limit)
        elif started_s >= self._lowered_at_s:
            self._lowered_at_s = time.monotonic()
            self._limit = max(float(_MIN_LIMIT), _DECREASE * min(self._limit, self._in_flight))

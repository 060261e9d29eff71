"""When a failed call is tried again: inside its deadline, within a budget, after the delay that the server asks for."""

from __future__ import annotations

import random
import threading
import time
from typing import Final

import grpc
from shortlist.client.errors import ShortlistClientError

_RETRIED: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)
_FIRST_DELAY_S: Final = 0.02
_MAX_DELAY_S: Final = 1.0


class RetryBudget:
    """Bounds retries to a share of all calls, so that clients do not multiply the load of servers that fail.

    A token bucket: each call adds ``share`` of a token, each retry takes one.
    Source: Google, Site Reliability Engineering, chapter 21 "Handling Overload".

    Args:
        share: Retries per call in the long run.
        max_tokens: How many retries may come at once.
    """

    def __init__(self, share: float = 0.1, max_tokens: float = 10.0) -> None:
        self._share = share
        self._max_tokens = max_tokens
        self._tokens = max_tokens
        self._lock = threading.Lock()

    def add_call(self) -> None:
        """Count a first attempt."""
        with self._lock:
            self._tokens = min(self._max_tokens, self._tokens + self._share)

    def take(self) -> bool:
        """Take a retry; returns whether there was one."""
        with self._lock:
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True


class Attempts:
    """The attempts of one call, without I/O.

    Args:
        timeout_s: The time of all attempts together, delays included.
        max_retries: How many attempts may follow the first.
        budget: The client's budget.
    """

    def __init__(self, timeout_s: float, max_retries: int, budget: RetryBudget) -> None:
        self._ends_at_s = time.monotonic() + timeout_s
        self._retries_left = max_retries
        self._budget = budget
        self._next_delay_s = _FIRST_DELAY_S
        budget.add_call()

    def remaining_s(self) -> float:
        """Return the time of the next attempt in seconds, at least 0."""
        return max(0.0, self._ends_at_s - time.monotonic())

    def delay_s(self, error: ShortlistClientError) -> float:
        """Return how long to wait before the next attempt; raises ``error`` if there is none.

        The delay is the server's, or grows from 20 ms twofold up to a second, with jitter.
        """
        if error.code not in _RETRIED or self._retries_left <= 0:
            raise error
        if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and error.retry_after_s is None:
            raise error  # a message that is too large, say: the next attempt would fail too
        jitter = random.uniform(0.5, 1.0)
        delay_s = error.retry_after_s if error.retry_after_s is not None else jitter * self._next_delay_s
        if delay_s >= self.remaining_s() or not self._budget.take():
            raise error
        self._retries_left -= 1
        self._next_delay_s = min(_MAX_DELAY_S, 2 * self._next_delay_s)
        return delay_s

"""How many calls may be sent twice, and when."""

from __future__ import annotations

from collections import deque
from typing import Final

# As many second tries may be saved up while few are needed.
_MAX_BALANCE: Final = 10.0


class RetryBudget:
    """A share of the calls that may be sent a second time, so that retries never multiply the load of a failing peer.

    Args:
        share: Second tries for each call, 0 to 1.

    Attributes:
        spent: How many second tries were made.
        denied: How many were not made because the budget was spent.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._balance = _MAX_BALANCE if share else 0.0
        self.spent = 0
        self.denied = 0

    def count_call(self) -> None:
        """Count a call, which adds its share to the balance."""
        self._balance = min(_MAX_BALANCE, self._balance + self._share)

    def withdraw(self) -> bool:
        """Take one second try from the balance; returns False if less than one is left."""
        if self._balance < 1.0:
            self.denied += 1
            return False
        self._balance -= 1.0
        self.spent += 1
        return True


class LatencyQuantile:
    """A quantile of the latest latencies of one service: the time after which a hedged try is sent.

    Dean and Barroso, The Tail at Scale (2013): a second request after the 95th percentile adds 5 % load and cuts the
    tail. Recomputed with every tenth observation.

    Args:
        quantile: The quantile, 0 to 1.

    Attributes:
        seconds: The quantile; None until there are enough observations.
    """

    _KEPT: Final = 200
    _RECOMPUTE_EVERY: Final = 10

    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._latencies: deque[float] = deque(maxlen=self._KEPT)
        self._count = 0
        self.seconds: float | None = None

    def observe(self, seconds: float) -> None:
        """Add the latency of an answered call."""
        self._latencies.append(seconds)
        self._count += 1
        if self._count % self._RECOMPUTE_EVERY == 0:
            ordered = sorted(self._latencies)
            self.seconds = ordered[min(int(self._quantile * len(ordered)), len(ordered) - 1)]

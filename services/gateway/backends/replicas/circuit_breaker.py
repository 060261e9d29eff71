"""A circuit breaker: calls to a peer that answers nothing fail at once, until it answers again (Nygard, Release It!).

Closed, every call goes to the peer. After some calls in a row without an answer it opens: calls are refused. Open, the
peer is probed; once a probe is answered it is half open: one call at a time is tried. Its answer closes the breaker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MAX_DOUBLINGS: Final = 16


class BreakerState(StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class BreakerOptions:
    """When a breaker opens, and how often it tries again.

    Attributes:
        failures: How many calls in a row without an answer open it.
        min_wait_s: A call that gave up earlier than this says nothing about the peer.
        first_pause_s: The pause after the first trial call without an answer; it doubles with each further one.
        max_pause_s: The longest pause.
    """

    failures: int = 5
    min_wait_s: float = 0.05
    first_pause_s: float = 0.25
    max_pause_s: float = 1.0


@dataclass(eq=False)
class Attempt:
    """One admitted call.

    Attributes:
        started_s: When it was admitted.
        ended: Whether its end was reported; only the first report counts.
    """

    started_s: float
    ended: bool = False


class CircuitBreaker:
    """The circuit breaker of one peer; for use on one event loop.

    A failure is a call without any answer: a refused connection, or a timeout in which the peer answered no other call
    either. A peer that answers some of its calls in time is busy, and a busy peer limits its load itself.

    Args:
        options: When it opens and closes.
        clock: The time in seconds.
        on_change: Called after each change of the state.

    Attributes:
        state: The state.
        opened: How often it opened.
        refused: How many calls it refused.
    """

    def __init__(
        self,
        options: BreakerOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[BreakerState], None] = lambda _: None,
    ) -> None:
        self._options = options or BreakerOptions()
        self._clock = clock
        self._on_change = on_change
        self.state = BreakerState.CLOSED
        self.opened = 0
        self.refused = 0
        self._failures = 0
        self._failed_trials = 0
        self._trial: Attempt | None = None
        self._retry_at_s = 0.0
        self._answered_at_s = float("-inf")

    def admit(self) -> Attempt | None:
        """Admit a call; None if the breaker refuses it. The end of every admitted call must be reported."""
        if self.state is BreakerState.OPEN or (self.state is BreakerState.HALF_OPEN and self._trial is not None):
            self.refused += 1
            return None
        attempt = Attempt(self._clock())
        if self.state is BreakerState.HALF_OPEN:
            self._trial = attempt
        return attempt

    def probe_answered(self) -> None:
        """Report the answer to a probe: an open breaker becomes half open if its pause is over."""
        if self.state is BreakerState.OPEN and self._clock() >= self._retry_at_s:
            self._change(BreakerState.HALF_OPEN)

    def answered(self, attempt: Attempt) -> None:
        """Report an answer of the peer, whatever it says."""
        if attempt.ended:
            return
        self._answered_at_s, self._failures = self._clock(), 0
        if self._end(attempt):
            self._failed_trials = 0
            self._change(BreakerState.CLOSED)
        else:  # perhaps of a call from before it opened
            self.probe_answered()

    def unreachable(self, attempt: Attempt) -> None:
        """Report a call that the peer did not take, for want of a connection or of readiness."""
        if not attempt.ended:
            self._fail(attempt)

    def gave_up(self, attempt: Attempt) -> bool:
        """Report a call that was given up; returns whether the peer was silent: it answered no other call meanwhile."""
        silent = self._answered_at_s <= attempt.started_s
        if attempt.ended:
            return silent
        if silent and self._clock() - attempt.started_s >= self._options.min_wait_s:
            self._fail(attempt)
        else:
            self._end(attempt)
        return silent

    def abandon(self, attempt: Attempt) -> None:
        """Report a call that says nothing about the peer, such as one that its caller cancelled."""
        self._end(attempt)

    def _fail(self, attempt: Attempt) -> None:
        if self._end(attempt):
            self._failed_trials += 1
            self._open()
        elif self.state is BreakerState.CLOSED:
            self._failures += 1
            if self._failures >= self._options.failures:
                self._open()

    def _end(self, attempt: Attempt) -> bool:
        """End a call; returns whether it was the trial of a half-open breaker."""
        attempt.ended = True
        if attempt is not self._trial:
            return False
        self._trial = None
        return True

    def _open(self) -> None:
        doublings = min(self._failed_trials, _MAX_DOUBLINGS) - 1
        pause_s = self._options.first_pause_s * 2**doublings if self._failed_trials else 0.0
        self._retry_at_s = self._clock() + min(pause_s, self._options.max_pause_s)
        self._failures = 0
        self.opened += 1
        self._change(BreakerState.OPEN)

    def _change(self, state: BreakerState) -> None:
        self.state = state
        self._on_change(state)

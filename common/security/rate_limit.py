"""Limits of each caller: calls a second by a token bucket, and calls in progress."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from common.errors import Overloaded
from common.security.callers import CallerLimits

# Bounds the memory for callers that come once, such as addresses; the longest unused are forgotten.
_MAX_CALLERS: Final = 10_000
_RETRY_CALLS_S: Final = 0.1


@dataclass
class _State:
    tokens: float
    filled_at_s: float
    calls: int = 0


class CallerLimiter:
    """Refuses calls beyond a caller's limits.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: OrderedDict[str, _State] = OrderedDict()

    @contextmanager
    def admit(self, caller: str, limits: CallerLimits) -> Iterator[None]:
        """Count a call of a caller while the body runs.

        Raises:
            Overloaded: A limit is exceeded; it says when the next call is admitted.
        """
        state = self._state(caller, limits)
        if limits.max_calls and state.calls >= limits.max_calls:
            raise Overloaded(
                f"{limits.max_calls} calls of this caller are in progress, as many as it may have",
                retry_after_s=_RETRY_CALLS_S,
            )
        if limits.calls_per_s:
            self._take(state, limits)
        state.calls += 1
        try:
            yield
        finally:
            state.calls -= 1

    def _state(self, caller: str, limits: CallerLimits) -> _State:
        state = self._states.get(caller)
        if state is None:
            state = self._states[caller] = _State(_capacity(limits), self._clock())
            self._forget()
        self._states.move_to_end(caller)
        return state

    def _take(self, state: _State, limits: CallerLimits) -> None:
        now_s = self._clock()
        filled = state.tokens + (now_s - state.filled_at_s) * limits.calls_per_s
        state.tokens, state.filled_at_s = min(filled, _capacity(limits)), now_s
        if state.tokens < 1.0:
            raise Overloaded(
                f"this caller may make {limits.calls_per_s:g} calls a second",
                retry_after_s=(1.0 - state.tokens) / limits.calls_per_s,
            )
        state.tokens -= 1.0

    def _forget(self) -> None:
        """Forget the longest unused callers; one with calls in progress stays, so that they remain counted."""
        while len(self._states) > _MAX_CALLERS:
            name, state = self._states.popitem(last=False)
            if state.calls:
                self._states[name] = state  # at the end: looked at again when the others were
                return


def _capacity(limits: CallerLimits) -> float:
    return max(1.0, float(limits.burst or limits.calls_per_s))

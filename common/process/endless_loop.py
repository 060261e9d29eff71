"""Loops that end only when they are told to: an error is logged and counted, and the loop goes on.

Every background loop of the servers runs here; `tests/unit/repository/test_loops.py` finds others.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

# The pause after an error, and how often an error that lasts is logged.
_RETRY_S: Final = 0.2
_LOG_INTERVAL_S: Final = 60.0
_log: Final = structlog.get_logger()


class LoopState:
    """How a loop fares.

    Attributes:
        failures: How many of its steps failed.
        is_failing: Whether its last step failed.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._logged_s = -_LOG_INTERVAL_S
        self.failures = 0
        self.is_failing = False

    def succeeded(self) -> None:
        """Note a step without an error."""
        if self.is_failing:
            self.is_failing = False
            self._logged_s = -_LOG_INTERVAL_S
            _log.info("a background loop works again", loop=self._name)

    def failed(self, error: Exception) -> None:
        """Note a step that raised; logs it, with its stack, at most once a minute."""
        self.failures += 1
        self.is_failing = True
        if time.monotonic() - self._logged_s >= _LOG_INTERVAL_S:
            self._logged_s = time.monotonic()
            _log.error("a step of a background loop failed; the loop goes on", loop=self._name, exc_info=error)


# The loops of this process by name; loops of one name share their state. The metrics export them.
STATES: Final[dict[str, LoopState]] = {}


def start_thread(
    name: str,
    step: Callable[[], None],
    is_stopped: Callable[[], bool],
    *,
    begin: Callable[[], None] = lambda: None,
    retry_s: float = _RETRY_S,
) -> threading.Thread:
    """Start a daemon thread that repeats a step until ``is_stopped``.

    Args:
        name: The name of the loop and its thread, for the log and the metrics.
        step: Waits for work, does a part of it and returns; an exception does not end the loop.
        is_stopped: Whether to end; asked after each step.
        begin: Called once, in the thread.
        retry_s: The pause after a step that raised.
    """
    state = STATES.setdefault(name, LoopState(name))

    def run() -> None:
        begin()
        while not is_stopped():
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the loop must go on, whatever it is
                state.failed(error)
                time.sleep(retry_s)
            else:
                state.succeeded()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


async def repeat(name: str, step: Callable[[], Awaitable[None]], *, retry_s: float = _RETRY_S) -> None:
    """Repeat a step on the event loop until the task is cancelled; see `start_thread`."""
    state = STATES.setdefault(name, LoopState(name))
    while True:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - the loop must go on, whatever it is
            state.failed(error)
            await asyncio.sleep(retry_s)
        else:
            state.succeeded()

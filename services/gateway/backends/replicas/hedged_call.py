"""One call that is sent to a second replica while the first has not answered; the first answer counts."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from services.gateway.backends.replicas.circuit_breaker import Attempt
from services.gateway.backends.replicas.replica import Replica, RequestRefused
from services.gateway.backends.stages import StageFailed

Admitted = tuple[Replica, Attempt]
"""A replica and the admission of a call to it."""


class HedgedCall:
    """One call to several replicas. Its end must be awaited.

    Args:
        method: The method's name.
        request: The request.
        ends_at_s: The deadline, in seconds of the monotonic clock.
    """

    def __init__(self, method: str, request: Any, ends_at_s: float) -> None:
        self._method = method
        self._request = request
        self._ends_at_s = ends_at_s
        self._sent: dict[asyncio.Task[Any], Admitted] = {}
        self._answered = False

    def send(self, admitted: Admitted) -> None:
        """Send the call to a replica."""
        call = send(admitted, self._method, self._request, self._ends_at_s)
        self._sent[asyncio.create_task(call)] = admitted

    async def ends_within(self, seconds: float | None) -> bool:
        """Wait for the end of a call sent so far, for at most ``seconds``; returns whether one ended."""
        done, _ = await asyncio.wait(self._sent, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)

    async def first_answer(self) -> tuple[Any, Replica]:
        """Return the first answer and its replica; raises the first failure if every replica failed."""
        failures: list[BaseException] = []
        waiting = set(self._sent)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                failure = task.exception()
                self._answered |= failure is None or isinstance(failure, RequestRefused)
                if failure is None:
                    return task.result(), self._sent[task][0]
                if not isinstance(failure, StageFailed):
                    raise failure
                failures.append(failure)
        raise failures[0]

    async def end(self) -> None:
        """Cancel what was not answered. A replica that another one outran did not answer, as its breaker is told."""
        pending = [task for task in self._sent if not task.done()]
        for task in pending:
            replica, attempt = self._sent[task]
            if self._answered:
                replica.breaker.gave_up(attempt)
            task.cancel()
        await asyncio.gather(*self._sent, return_exceptions=True)


async def send(admitted: Admitted, method: str, request: Any, ends_at_s: float) -> Any:
    """Send a call to one replica, in the time left; raises like `Replica.call`."""
    replica, attempt = admitted
    return await replica.call(attempt, method, request, max(0.0, ends_at_s - time.monotonic()))

"""Searches that wait at the same time are answered together: each turn of a thread costs some Python around it.

Python runs in one thread at a time, so a second thread pays only where there is enough to search, which the libraries
do without Python. Until then one thread takes turns, and whoever comes meanwhile is answered together in the next one.
However many single requests wait, one core is left to the event loop, which has to read and answer them all.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final, Generic, NamedTuple, TypeVar

# Requests that one thread answers in a row; with 100 candidates each, some five milliseconds.
MAX_BATCH: Final = 32


# Requests that wait for each thread at work before another one begins; a call of more has a turn of its own.
MIN_PER_WORKER: Final = 8


T = TypeVar("T")


R = TypeVar("R")


class _BatchSlice(NamedTuple, Generic[T, R]):
    """Requests of one call, and who waits for their answers."""

    asked: Sequence[T]
    answered: asyncio.Future[list[R]]


class SearchBatcher(Generic[T, R]):
    """Hands waiting requests to threads, those of several calls in one turn.

    Nothing waits for company: a request that finds no thread at work is answered at once, alone.

    Args:
        answer: Answers requests, in a thread, in their order.
        pool: The threads.
        threads: How many of them answer at a time.
    """

    def __init__(self, answer: Callable[[Sequence[T]], list[R]], pool: Executor, threads: int) -> None:
        self._answer = answer
        self._pool = pool
        self._threads = threads
        self._beside = max(1, threads - 1)
        self._lock = threading.Lock()
        self._waiting: deque[_BatchSlice[T, R]] = deque()
        self._working = 0
        self._few = 0  # requests that wait, but for those of long parts
        self._at_few = 0  # threads that answer such ones
        self._long = 0  # long parts that wait or are answered

    async def ask(self, asked: Sequence[T]) -> list[R]:
        """Return the answers to at most `MAX_BATCH` requests; they are answered in one turn."""
        loop = asyncio.get_running_loop()
        part: _BatchSlice[T, R] = _BatchSlice(asked, loop.create_future())
        with self._lock:
            self._waiting.append(part)
            if _is_long(part):
                self._long += 1
            else:
                self._few += len(asked)
            starting = self._working < self._wanted()
            self._working += starting
        if starting:
            self._pool.submit(self._work, loop)
        return await part.answered

    def _wanted(self) -> int:
        """Return how many threads are worth being at work: one for each long part, which nobody is to wait for."""
        return min(self._threads, self._long + min(self._beside, max(self._at_few, -(-self._few // MIN_PER_WORKER))))

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer some of those who wait, then the next ones once the thread had a turn for what else the pool does."""
        while parts := self._take():
            wanted = [part for part in parts if not part.answered.cancelled()]
            if wanted:
                loop.call_soon_threadsafe(_deliver, wanted, self._outcomes(wanted))
            with self._lock:
                self._long -= _is_long(parts[0])
                self._at_few -= not _is_long(parts[0])
            with suppress(RuntimeError):  # the pool is to be closed: those who wait come first
                self._pool.submit(self._work, loop)
                return

    def _take(self) -> list[_BatchSlice[T, R]]:
        """Take this thread's share of what waits; nothing ends its work."""
        with self._lock:
            parts = self._next() if self._waiting and self._working <= self._wanted() else []
            self._working -= not parts
            return parts

    def _next(self) -> list[_BatchSlice[T, R]]:
        """Take a long part, or short ones up to the next long one."""
        parts = [self._waiting.popleft()]
        if _is_long(parts[0]):
            return parts
        room = min(MAX_BATCH, max(MIN_PER_WORKER, -(-self._few // self._beside))) - len(parts[0].asked)
        while self._waiting and len(self._waiting[0].asked) <= min(room, MIN_PER_WORKER):
            parts.append(self._waiting.popleft())
            room -= len(parts[-1].asked)
        self._few -= sum(len(part.asked) for part in parts)
        self._at_few += 1
        return parts

    def _outcomes(self, parts: Sequence[_BatchSlice[T, R]]) -> list[list[R] | Exception]:
        """Return each part's answers; where that fails for all together, each by itself, so that one harms no other."""
        try:
            answers = iter(self._answer([request for part in parts for request in part.asked]))
            return [[next(answers) for _ in part.asked] for part in parts]
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            if len(parts) == 1:
                return [error]
        return [outcome for part in parts for outcome in self._outcomes([part])]


def _is_long(part: _BatchSlice[T, R]) -> bool:
    return len(part.asked) > MIN_PER_WORKER


def _deliver(parts: Sequence[_BatchSlice[T, R]], outcomes: Sequence[list[R] | Exception]) -> None:
    for part, outcome in zip(parts, outcomes, strict=True):
        if part.answered.done():  # its caller went away meanwhile
            continue
        if isinstance(outcome, Exception):
            part.answered.set_exception(outcome)
        else:
            part.answered.set_result(outcome)

"""Batches searches across calls: requests that wait at the same time share one turn of a search thread.

    Retrieve ──────────────┐          queue of slices                search threads
    Retrieve ──────────────┤                                    ┌▶ small slices, together up to `max_batch`
    BatchRetrieve, 5 ──────┼──▶ [ 1 ][ 1 ][ 5 ][ 32 ][ 1 ] ──▶──┤
    BatchRetrieve, 70 ─────┘      ▲                             └▶ one large slice, alone
      cut into 32 + 32 + 6 ───────┘

A turn costs some Python whatever it searches, so small slices share turns. A slice of more than `min_per_thread`
requests is large and has a turn of its own. Python runs one thread at a time, so another thread pays only if there is
enough to search in numpy and the index, which run without the interpreter. Small slices use at most all threads but
one: a core is left to the event loop, which reads and answers the calls.

A slice that finds no thread at work is searched at once. Nothing waits for a batch to fill.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(frozen=True)
class SearchBatcherOptions:
    """How searches are batched.

    Attributes:
        max_batch: The most requests in one turn of a thread; with 100 candidates each, about five milliseconds.
        min_per_thread: How many waiting requests each thread at work must have before another thread starts. A slice
            of more requests is large: it has a turn of its own.
        max_passed: How many turns in a row may be taken while a slice that yields waits.
    """

    max_batch: int = 32
    min_per_thread: int = 8
    max_passed: int = 8


class _Slice(NamedTuple, Generic[Request, Result]):
    """Requests of one call that are searched in one turn, and the future of their results."""

    requests: Sequence[Request]
    results: asyncio.Future[list[Result]]


class SearchBatcher(Generic[Request, Result]):
    """Batches the requests of concurrent calls and searches them on a pool of threads.

    Args:
        search: Searches requests on a thread; returns their results in the same order.
        pool: The threads.
        threads: The most threads that search at a time.
        options: How searches are batched.
    """

    def __init__(
        self,
        search: Callable[[Sequence[Request]], list[Result]],
        pool: Executor,
        threads: int,
        options: SearchBatcherOptions | None = None,
    ) -> None:
        self._search = search
        self._pool = pool
        self._threads = threads
        self._options = options or SearchBatcherOptions()
        self._max_small_turns = max(1, threads - 1)
        self._lock = threading.Lock()
        self._queue: deque[_Slice[Request, Result]] = deque()
        self._yielding: deque[_Slice[Request, Result]] = deque()  # slices for which nobody waits
        self._passed = 0  # turns in a row in which such a slice waited
        self._workers = 0  # threads at work
        self._small_requests = 0  # queued requests of small slices
        self._small_turns = 0  # threads that search small slices
        self._large_slices = 0  # large slices that are queued or searched

    async def submit(self, requests: Sequence[Request], *, yields: bool = False) -> list[Result]:
        """Search the requests of one call; returns their results in the same order.

        A call that yields has its turn when no other waits, and after `max_passed` turns of others at the latest.

        A call of more than `max_batch` requests is cut into slices. No more of its slices are queued at a time than
        there are threads, so that other calls get their turns between them.
        """
        size = self._options.max_batch
        if len(requests) <= size:
            return await self._submit_slice(requests, yields=yields)
        queued = asyncio.Semaphore(self._threads)

        async def submit_in_turn(part: Sequence[Request]) -> list[Result]:
            async with queued:
                return await self._submit_slice(part, yields=yields)

        starts = range(0, len(requests), size)
        results = await asyncio.gather(*(submit_in_turn(requests[start : start + size]) for start in starts))
        return [result for part in results for result in part]

    async def _submit_slice(self, requests: Sequence[Request], *, yields: bool) -> list[Result]:
        loop = asyncio.get_running_loop()
        added: _Slice[Request, Result] = _Slice(requests, loop.create_future())
        with self._lock:
            (self._yielding if yields else self._queue).append(added)
            if self._is_large(added):
                self._large_slices += 1
            else:
                self._small_requests += len(requests)
            starts_worker = self._workers < self._workers_needed()
            self._workers += starts_worker
        if starts_worker:
            self._pool.submit(self._work, loop)
        return await added.results

    def _is_large(self, part: _Slice[Request, Result]) -> bool:
        return len(part.requests) > self._options.min_per_thread

    def _workers_needed(self) -> int:
        """Return how many threads pay: one for each large slice, and some for the small ones."""
        small = max(self._small_turns, -(-self._small_requests // self._options.min_per_thread))
        return min(self._threads, self._large_slices + min(self._max_small_turns, small))

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Search one batch, then queue again in the pool, whose other work gets a turn in between."""
        while batch := self._next_batch():
            wanted = [part for part in batch if not part.results.cancelled()]
            if wanted:
                loop.call_soon_threadsafe(_deliver, wanted, self._outcomes(wanted))
            with self._lock:
                large = self._is_large(batch[0])
                self._large_slices -= large
                self._small_turns -= not large
            with suppress(RuntimeError):  # the pool is closing: search what is queued without leaving this thread
                self._pool.submit(self._work, loop)
                return

    def _next_batch(self) -> list[_Slice[Request, Result]]:
        """Take the next batch off the queue; an empty one ends the thread's work."""
        with self._lock:
            waits = self._queue or self._yielding
            batch = self._take_batch(self._next_queue()) if waits and self._workers <= self._workers_needed() else []
            self._workers -= not batch
            return batch

    def _next_queue(self) -> deque[_Slice[Request, Result]]:
        """Return whose turn it is: slices that yield wait, but not for ever."""
        has_turn = self._yielding and (not self._queue or self._passed >= self._options.max_passed)
        self._passed = 0 if has_turn or not self._yielding else self._passed + 1
        return self._yielding if has_turn else self._queue

    def _take_batch(self, queue: deque[_Slice[Request, Result]]) -> list[_Slice[Request, Result]]:
        """Take one large slice, or a thread's share of the small ones up to the next large one."""
        batch = [queue.popleft()]
        if self._is_large(batch[0]):
            return batch
        options = self._options
        share = max(options.min_per_thread, -(-self._small_requests // self._max_small_turns))
        room = min(options.max_batch, share) - len(batch[0].requests)
        while queue and len(queue[0].requests) <= min(room, options.min_per_thread):
            batch.append(queue.popleft())
            room -= len(batch[-1].requests)
        self._small_requests -= sum(len(part.requests) for part in batch)
        self._small_turns += 1
        return batch

    def _outcomes(self, batch: Sequence[_Slice[Request, Result]]) -> list[list[Result] | Exception]:
        """Search a batch; if that fails, search each slice alone, so that a bad request fails only its own call."""
        try:
            results = iter(self._search([request for part in batch for request in part.requests]))
            return [[next(results) for _ in part.requests] for part in batch]
        except Exception as error:  # noqa: BLE001 - the call gets it
            if len(batch) == 1:
                return [error]
        return [outcome for part in batch for outcome in self._outcomes([part])]


def _deliver(batch: Sequence[_Slice[Request, Result]], outcomes: Sequence[list[Result] | Exception]) -> None:
    for part, outcome in zip(batch, outcomes, strict=True):
        if part.results.done():  # the call was cancelled
            continue
        if isinstance(outcome, Exception):
            part.results.set_exception(outcome)
        else:
            part.results.set_result(outcome)

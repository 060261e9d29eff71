"""Works on a stream of items, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class BoundedMap(Generic[Item, Answer]):
    """The answers to a stream of items, as they are ready.

    The next item is read only while fewer than ``max_in_flight`` are worked on, and nothing is read or begun while the
    consumer does not take an answer: memory is bounded whatever the caller sends.

    Args:
        work: Makes an item's answer; what it raises ends the stream.
        max_in_flight: How many items are worked on at a time, at least 1.
    """

    def __init__(self, work: Callable[[Item], Awaitable[Answer]], max_in_flight: int) -> None:
        self._work = work
        self._max_in_flight = max_in_flight

    async def answers(self, items: AsyncIterator[Item]) -> AsyncIterator[Answer]:
        """Yield the answer to each item; closing this early cancels what is in flight."""
        working: set[asyncio.Task[Answer]] = set()
        task: asyncio.Task[Answer]
        reading: asyncio.Task[list[Item]] | None = asyncio.create_task(_next(items))
        has_more = True
        try:
            while reading is not None or working:
                waited_for: set[asyncio.Task[Any]] = {*working, *([] if reading is None else [reading])}
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                if reading is not None and reading.done():
                    read, reading = reading.result(), None
                    has_more = bool(read)
                    working.update(asyncio.create_task(self._answer(item)) for item in read)
                for task in [each for each in working if each.done()]:
                    working.remove(task)
                    yield task.result()
                if reading is None and has_more and len(working) < self._max_in_flight:
                    reading = asyncio.create_task(_next(items))
        finally:
            in_flight: list[asyncio.Task[Any]] = [*working, *([] if reading is None else [reading])]
            for each in in_flight:
                each.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)

    async def _answer(self, item: Item) -> Answer:
        return await self._work(item)


async def _next(items: AsyncIterator[Item]) -> list[Item]:
    """Return the next item in a list, which is empty after the last one."""
    try:
        return [await anext(items)]
    except StopAsyncIteration:
        return []

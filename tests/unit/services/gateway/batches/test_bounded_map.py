"""A stream of items, worked on a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.gateway.batches.bounded_map import BoundedMap


class _Source:
    """Items 0, 1, …; counts how many were read, and never ends if it is told so."""

    def __init__(self, count: int, *, ends: bool = True) -> None:
        self.read = 0
        self._count = count
        self._ends = ends

    async def __aiter__(self) -> AsyncIterator[int]:
        for item in range(self._count):
            self.read += 1
            yield item
        if not self._ends:
            await asyncio.Event().wait()


async def test_every_item_is_answered_once():
    """Whatever order the work ends in, and with no item at all."""

    async def work(item: int) -> int:
        await asyncio.sleep(0 if item % 3 else 0.001)
        return item * 2

    answers = [answer async for answer in BoundedMap(work, 4).answers(aiter(_Source(50)))]
    assert sorted(answers) == [item * 2 for item in range(50)]
    assert [answer async for answer in BoundedMap(work, 4).answers(aiter(_Source(0)))] == []


async def test_no_more_are_read_than_are_worked_on():
    """The next item is read when one is answered, and not while nobody takes answers."""
    gates = [asyncio.Event() for _ in range(10)]
    source, begun, three_begun = _Source(10), 0, asyncio.Event()

    async def work(item: int) -> int:
        nonlocal begun
        begun += 1
        if begun == 3:
            three_begun.set()
        await gates[item].wait()
        return item

    answers = BoundedMap(work, 3).answers(aiter(source))
    first = asyncio.create_task(anext(answers))
    await three_begun.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert (source.read, begun) == (3, 3)
    gates[1].set()
    assert await first == 1
    for gate in gates:
        gate.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert source.read <= 4  # nobody takes the answers
    assert sorted([answer async for answer in answers]) == [0, *range(2, 10)]


async def test_answers_do_not_wait_for_further_items():
    """A caller that keeps its stream open gets its answers."""

    async def work(item: int) -> int:
        return item

    answers = BoundedMap(work, 4).answers(aiter(_Source(2, ends=False)))
    assert sorted([await anext(answers), await anext(answers)]) == [0, 1]
    await answers.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_closing_cancels_what_is_in_flight():
    """A call that ends early leaves no work behind; a fault in the work ends the stream."""
    cancelled = []

    async def work(item: int) -> int:
        if item == 0:
            raise RuntimeError("fault")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    with pytest.raises(RuntimeError, match="fault"):
        async for _ in BoundedMap(work, 3).answers(aiter(_Source(10))):
            pass
    assert cancelled in ([], [1], [1, 2])
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

"""Freed memory is given back while no call is open."""

from __future__ import annotations

import asyncio

import pytest

from common.process.memory import FreedMemory
from common.server.lifecycle.idle_memory import memory_returned_when_idle


async def test_memory_is_given_back_only_while_no_call_is_open(monkeypatch: pytest.MonkeyPatch):
    """While calls are open nothing is done; afterwards it is, until the body ends."""
    open_calls, looks = 3, 0
    at_open_calls: list[int] = []
    loop, given_back = asyncio.get_running_loop(), asyncio.Event()

    def return_if_grown(_: FreedMemory) -> None:
        at_open_calls.append(open_calls)
        loop.call_soon_threadsafe(given_back.set)

    def count() -> int:
        nonlocal looks
        looks += 1
        return open_calls

    monkeypatch.setattr(FreedMemory, "return_if_grown", return_if_grown)
    async with memory_returned_when_idle(count, check_s=0):
        while looks < 5:  # noqa: ASYNC110 - the count has no event
            await asyncio.sleep(0)
        assert not at_open_calls
        open_calls = 0
        await given_back.wait()
    done = looks
    await asyncio.sleep(0)
    assert set(at_open_calls) == {0}
    assert looks == done

"""A server that has nothing to do gives the memory that it freed back to the system."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from common.process.endless_loop import repeat
from common.process.memory import FreedMemory

_CHECK_S: Final = 0.5


@asynccontextmanager
async def memory_returned_when_idle(open_calls: Callable[[], int], check_s: float = _CHECK_S) -> AsyncIterator[None]:
    """Look at intervals, while the body runs, whether no call is open, and then give freed memory back.

    gRPC keeps some kilobytes for each call that waits to be accepted. Without this, glibc keeps the memory of the
    longest such queue, up to hundreds of megabytes.

    Args:
        open_calls: Returns how many calls are open, also those that wait to be accepted.
        check_s: The interval.
    """
    freed = FreedMemory()

    async def look() -> None:
        await asyncio.sleep(check_s)
        if not open_calls():
            await asyncio.to_thread(freed.return_if_grown)

    looking = asyncio.create_task(repeat("freed memory", look))
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking

"""Where an event loop's computing is done: on the spot where that is short, else in threads."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")


# The way to a thread and back takes half a millisecond of processor time on a busy machine.
_WORTH_THE_WAY_S: Final = 0.001


class ComputePool:
    """Threads for one event loop; close them at the end."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[[], T], expected_s: float = math.inf) -> T:
        """Return what ``work`` returns, which is expected to take so many seconds."""
        if expected_s < _WORTH_THE_WAY_S:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """End the threads, once what they do is done."""
        self._threads.shutdown()

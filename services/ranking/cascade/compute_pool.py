"""Runs an event loop's computations: short ones at once, longer ones in threads."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")
# Switching to a thread and back takes half a millisecond of processor time on a busy machine.
_MIN_THREAD_S: Final = 0.001


class ComputePool:
    """Threads for one event loop; close the pool at the end."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[[], T], expected_s: float = math.inf) -> T:
        """Return the result of ``work``; runs it on the event loop if it is expected to take under a millisecond."""
        if expected_s < _MIN_THREAD_S:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Finish what runs and end the threads."""
        self._threads.shutdown()

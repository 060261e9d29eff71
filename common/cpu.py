"""The cores that a process may use, and the priority of its threads."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path


def usable_cores() -> int:
    """Return how many cores this process may use: its affinity, bounded by the cgroup's quota if there is one."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def lower_thread_priority(nice: int = 10) -> None:
    """Lower the priority of the calling thread, for good.

    Only Linux has a priority for each thread. Elsewhere, and if it is not allowed, the thread stays as it is.

    Args:
        nice: By how much to raise its nice value. Ten steps cut its weight to a ninth: enough that it goes on even if
            every core is busy.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + nice)

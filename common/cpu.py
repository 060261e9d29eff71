"""The cores that a process may use, and the priority of its threads."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final


def usable_cores() -> int:
    """Return how many cores this process may use: its affinity, bounded by the cgroup's quota where there is one."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


# Ten steps of Linux' priorities are a ninth of the weight: enough that work goes on where every core is busy.
_STEPS: Final = 10


def lower_thread_priority() -> None:
    """Give the calling thread less of the processor than others, for good.

    Linux has a priority for each thread; elsewhere, and where it is not allowed, the thread stays as it is.
    """
    with suppress(OSError, AttributeError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _STEPS)

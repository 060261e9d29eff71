"""The cores that a process may use, and the priority of its threads."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final


def usable_cores() -> int:
    """Return how many cores this process may use: its affinity, at most the cgroup's quota if there is one."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


# Ten steps of niceness are a ninth of the scheduler's weight: work continues even if every core is busy.
_NICE_STEPS: Final = 10


def lower_thread_priority() -> None:
    """Lower the priority of the calling thread permanently.

    Only Linux has priorities of threads; elsewhere, and without permission, nothing changes.
    """
    with suppress(OSError, AttributeError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE_STEPS)

"""What this machine has, as far as the operating system says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_CGROUP: Final = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def quota_cores(cgroup: Path = _CGROUP) -> float | None:
    """Return the cores that the cgroup allows (version 2, else 1); None if it does not limit them."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if quota in {"max", "-1"} else int(quota) / int(period)


def free_gib() -> float | None:
    """Return the memory that programs can have, in GiB: the machine's, and at most what the cgroup leaves."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = {line.split(":")[0]: int(line.split()[1]) * 1_024 for line in lines}.get("MemAvailable", 0)
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no limit is the word `max`
        return free / 2**30
    return min(free, max(0, limit - used)) / 2**30


def processor_features() -> set[str]:
    """Return the processor's features by Linux's names; empty if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return set(value.split())
    return set()

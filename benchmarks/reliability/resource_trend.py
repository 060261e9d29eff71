"""How a server's memory, descriptors and threads change over a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from common.arrays import Float64Array

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# The first part of a run fills caches and pools.
_WARM_UP_SHARE: Final = 0.3
_MAX_MEMORY_GROWTH: Final = 0.05
_MAX_COUNT_GROWTH: Final = 2.0


@dataclass(frozen=True)
class Sample:
    """What a process has at one time.

    Attributes:
        at_s: The time, in seconds of the monotonic clock.
        memory_mb: Its resident memory.
        descriptors: Its open files and sockets.
        threads: Its threads.
    """

    at_s: float
    memory_mb: float
    descriptors: float
    threads: float


@dataclass(frozen=True)
class Trend:
    """A straight line through samples after the warm-up.

    Attributes:
        first: The line at the end of the warm-up.
        last: The line at the end.
        per_hour: Its slope.
        holds: Whether it rises by no more than noise: memory by 5 %, the others by 2.
    """

    first: float
    last: float
    per_hour: float
    holds: bool


def sample(pid: int, at_s: float) -> Sample:
    """Return what a process has now."""
    process = Path(f"/proc/{pid}")
    memory_mb = int((process / "statm").read_text().split()[1]) * _PAGE_BYTES / 1e6
    return Sample(at_s, memory_mb, _entries(process / "fd"), _entries(process / "task"))


def _entries(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def trends(samples: Sequence[Sample]) -> dict[str, Trend]:
    """Return the trends of memory, descriptors and threads; at least ten samples are needed.

    The line is that of Theil and Sen, the median of the slopes between all pairs, which single peaks do not move.
    """
    settled = samples[round(len(samples) * _WARM_UP_SHARE) :]
    at_s = np.array([one.at_s for one in settled])
    values = {
        "memory, MB": np.array([one.memory_mb for one in settled]),
        "descriptors": np.array([one.descriptors for one in settled]),
        "threads": np.array([one.threads for one in settled]),
    }
    return {name: _trend(at_s, of_name, is_memory=name.startswith("memory")) for name, of_name in values.items()}


def _trend(at_s: Float64Array, values: Float64Array, *, is_memory: bool) -> Trend:
    first, second = np.triu_indices(len(at_s), 1)
    slope = float(np.median((values[second] - values[first]) / (at_s[second] - at_s[first])))
    middle = float(np.median(values - slope * (at_s - at_s[0])))
    rise = slope * float(at_s[-1] - at_s[0])
    allowed = _MAX_MEMORY_GROWTH * middle if is_memory else _MAX_COUNT_GROWTH
    return Trend(middle, middle + rise, slope * 3_600, rise <= allowed)

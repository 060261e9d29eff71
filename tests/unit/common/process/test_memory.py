"""Freed memory goes back to the system."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from common.process import memory
from common.process.memory import FreedMemory, return_freed_memory


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells resident memory in /proc")
def test_freed_memory_is_given_back():
    """Small blocks that were freed between others still in use leave the resident memory."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    blocks = [np.zeros(12_000, dtype=np.uint8) + 1 for _ in range(40_000)]  # 480 MB: more than earlier tests freed
    kept = blocks[-1]
    full = resident()
    del blocks
    return_freed_memory()
    assert full - before > 80e6
    assert resident() - before < 20e6
    assert kept[0] == 1


def test_memory_is_given_back_after_growth(monkeypatch: pytest.MonkeyPatch):
    """The free blocks are looked through once the process has grown by 8 MiB since the last time, and not before."""
    sizes_mib = iter([100, 90, 97, 98, 91, 98, 99, 95])  # before and, where it is given back, after
    given_back = 0

    def give_back() -> None:
        nonlocal given_back
        given_back += 1

    monkeypatch.setattr(memory, "resident_bytes", lambda: next(sizes_mib) << 20)
    monkeypatch.setattr(memory, "return_freed_memory", give_back)
    freed, counts = FreedMemory(), []
    for _ in range(5):
        freed.return_if_grown()
        counts.append(given_back)
    assert counts == [1, 1, 2, 2, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells resident memory in /proc")
def test_resident_memory_is_that_of_the_process():
    """It agrees with what the system says."""
    assert memory.resident_bytes() > 1e6

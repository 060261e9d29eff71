"""Freed memory goes back to the system."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from common.process.memory import return_freed_memory


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

"""Cores and thread priorities."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.cpu import lower_thread_priority, usable_cores


def test_usable_cores_are_at_most_those_of_the_affinity():
    """A process uses one core at least, and none that it is not allowed on."""
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_only_the_calling_thread_gives_way():
    """The thread's nice value rises by the steps asked for, that of other threads stays."""
    before = _nice()
    with ThreadPoolExecutor(1, initializer=lower_thread_priority, initargs=(3,)) as pool:
        assert pool.submit(_nice).result() == min(before + 3, 19)
    assert _nice() == before


def _nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

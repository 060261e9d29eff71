"""How the batcher's threads share the cores with others."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from services.ranking.batcher import Batcher
from services.ranking.capacity import BatchLimits
from services.ranking.cost_model import CostModel
from services.ranking.pairs import Ints, Pairs


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no scheduling of their own")
async def test_every_other_thread_passes_those_that_compute(pairs_of: Callable[..., Pairs]):
    """The model runs on threads that have a core while nobody else wants it; the caller's own thread stays as it is."""
    ran_by: list[tuple[int, int]] = []

    def model(input_ids: Ints, _mask: Ints, _types: Ints) -> Any:
        thread = threading.get_native_id()
        ran_by.append((thread, os.sched_getscheduler(thread)))
        return np.zeros(len(input_ids), np.float32)

    before = os.sched_getscheduler(threading.get_native_id())
    batcher = Batcher(model, CostModel(1.0, 0.001), BatchLimits(workers=2))
    try:
        await batcher.score(pairs_of([8, 9]), deadline=1e6)
    finally:
        batcher.close()
    assert {policy for _, policy in ran_by} == {os.SCHED_IDLE}
    assert threading.get_native_id() not in {thread for thread, _ in ran_by}
    assert os.sched_getscheduler(threading.get_native_id()) == before == os.SCHED_OTHER

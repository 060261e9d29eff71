"""How the batcher's threads share the cores with others."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.arrays import Int64Array
from services.ranking.batching.batcher import Batcher
from services.ranking.batching.capacity import BatchLimits
from services.ranking.batching.cost_model import CostModel
from services.ranking.pairs.pair_tokens import TokenPairs


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
async def test_threads_that_compute_give_way(pairs_of: Callable[..., TokenPairs]):
    """The model runs on threads of a low priority; the caller's own thread stays as it is."""
    ran_at: set[int] = set()

    def model(input_ids: Int64Array, _mask: Int64Array, _types: Int64Array) -> Any:
        ran_at.add(_nice())
        return np.zeros(len(input_ids), np.float32)

    before = _nice()
    batcher = Batcher(model, CostModel(1.0, 0.001), BatchLimits(workers=2))
    try:
        await batcher.score(pairs_of([8, 9]), deadline=1e6)
    finally:
        batcher.close()
    assert ran_at == {min(before + 15, 19)}
    assert _nice() == before


def _nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

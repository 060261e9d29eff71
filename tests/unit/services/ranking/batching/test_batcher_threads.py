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
from services.ranking.request import CallContext


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
@pytest.mark.parametrize("nice", [0, 7])
async def test_the_model_runs_at_the_priority_of_the_limits(pairs_of: Callable[..., TokenPairs], nice: int):
    """Worker threads are nicer than the caller's thread by the configured steps, which itself stays as it is."""
    ran_at: set[int] = set()

    def model(input_ids: Int64Array, _mask: Int64Array, _types: Int64Array) -> Any:
        ran_at.add(_nice())
        return np.zeros(len(input_ids), np.float32)

    before = _nice()
    batcher = Batcher(model, CostModel(1.0, 0.001), BatchLimits(workers=2, nice=nice))
    try:
        await batcher.score(pairs_of([8, 9]), CallContext(1e6))
    finally:
        batcher.close()
    assert ran_at == {min(before + nice, 19)}
    assert _nice() == before


def _nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

"""An open load counts from the time at which a call was due."""

from __future__ import annotations

import asyncio
import itertools

from shortlist.gateway.v1 import gateway_pb2

from benchmarks.scaling.open_load import OpenLoad, percentile_ms
from testing.server_process import free_port

REQUESTS = [gateway_pb2.RecommendRequest(limit=1)]


async def test_calls_are_due_at_the_rate_whatever_happens_to_them():
    """Nothing listens: every call is a failure, and the next one is due all the same."""
    load = OpenLoad(f"127.0.0.1:{free_port()}", 200.0, REQUESTS)
    running = asyncio.create_task(load.run())
    while len(load.calls) < 20:  # noqa: ASYNC110 - the load has no event
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    due_s = sorted(call.due_s for call in load.calls)
    assert all(abs(later - earlier - 0.005) < 1e-6 for earlier, later in itertools.pairwise(due_s))
    assert {call.code for call in load.calls} == {"UNAVAILABLE"}
    assert load.between(due_s[5], due_s[8]) == sorted(load.calls, key=lambda call: call.due_s)[5:8]
    assert percentile_ms(load.calls, 100) >= percentile_ms(load.calls, 50) > 0

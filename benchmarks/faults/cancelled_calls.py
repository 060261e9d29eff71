"""Does the gateway's memory level off while callers give up their calls?

Callers cancel `Recommend` within its first milliseconds, over and over. The release is tiny.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.faults.services import Services, counted_calls, services, tiny_release
from benchmarks.harness.record import Result, at_least, at_most
from common.server import event_loop
from common.server.channel import open_channel
from testing.tiny_shop import USERS

_CALLS: Final = 100_000
_STEP: Final = 10_000
_CALLERS: Final = 64
_MAX_WAIT_S: Final = 0.02
_MAX_GROWTH: Final = 1.1


def run(quick: bool, console: Console) -> Result:
    """Cancel calls; quick cancels a fifth of them."""
    del console
    with tiny_release() as release, services(release) as running:
        return event_loop.run(_measure(running, _CALLS // 5 if quick else _CALLS))


async def _measure(running: Services, calls: int) -> Result:
    megabytes: dict[str, float] = {}
    async with open_channel(running.gateway.target) as channel:
        stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        await stub.Recommend(gateway_pb2.RecommendRequest(user_id="u1"))
        megabytes["0"] = running.gateway.memory_bytes() / 1e6
        for done in range(_STEP, calls + 1, _STEP):
            await asyncio.gather(*(_cancel(stub, _STEP // _CALLERS, f"{done}-{n}") for n in range(_CALLERS)))
            counted = await counted_calls(running.gateway, "Recommend")
            megabytes[str(done)] = running.gateway.memory_bytes() / 1e6
    levels = list(megabytes.values())
    table = Table("calls", "gateway's memory, MB", title="cancelled calls")
    for count, level in megabytes.items():
        table.add_row(f"{int(count):,}", f"{level:.1f}")
    figures: dict[str, Any] = {"megabytes after calls": megabytes, "statuses": dict(counted)}
    thresholds = [
        at_most("memory at the end, of that after the first 10,000", _MAX_GROWTH, levels[-1] / levels[1]),
        at_least("share of calls that ended as CANCELLED", 0.5, counted["CANCELLED"] / counted.total()),
    ]
    return Result(figures, thresholds, [table])


async def _cancel(stub: Any, calls: int, seed: str) -> None:
    chosen = random.Random(seed)
    for _ in range(calls):
        call = stub.Recommend(gateway_pb2.RecommendRequest(user_id=f"u{chosen.randrange(USERS)}"))
        await asyncio.sleep(chosen.random() * _MAX_WAIT_S)
        call.cancel()
        await call.code()

"""What do callers get who call all at once, and does the gateway count the same?

Every call must be OK, RESOURCE_EXHAUSTED with RetryInfo, or DEADLINE_EXCEEDED. Calls beyond the streams of a connection
wait in the client; those that end there never reach the server, which cannot count them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import grpc
from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.faults.services import Services, counted_calls, services
from benchmarks.harness.record import Result, Threshold, at_most
from common.server import event_loop
from common.server.channel import open_channel

_CALLS: Final = 4_000
_DEADLINE_S: Final = 5.0
_LEGAL: Final = {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
_SETTLE_S: Final = 1.0
# Connections, and the gateway's own settings.
_TRIALS: Final[tuple[tuple[str, int, Mapping[str, int]], ...]] = (
    ("one connection", 1, {}),
    ("8 connections", 8, {}),
    ("one connection with 500 streams", 1, {"max-streams": 500}),
)


def run(quick: bool, console: Console) -> Result:
    """Send the bursts; quick sends one."""
    del console
    table = Table("trial", "status", "client", "gateway", title=f"{_CALLS:,} calls at once, deadline {_DEADLINE_S:g} s")
    figures: dict[str, Any] = {}
    thresholds: list[Threshold] = []
    for name, connections, settings in _TRIALS[: 1 if quick else None]:
        with services(settings) as running:
            client, server, illegal = event_loop.run(_burst(running, connections))
        for status in sorted(client | server):
            table.add_row(name, status, f"{client[status]:,}", f"{server[status]:,}")
        table.add_row(name, "all", f"{client.total():,}", f"{server.total():,}", end_section=True)
        figures[name] = {"client": dict(client), "gateway": dict(server)}
        thresholds.append(at_most(f"{name}: calls with another status, or without RetryInfo", 0, illegal))
        if not settings:
            missing = abs(client.total() - server.total())
            thresholds.append(at_most(f"{name}: calls that only one side counts", 0, missing))
    return Result(figures, thresholds, [table])


async def _burst(running: Services, connections: int) -> tuple[Counter[str], Counter[str], int]:
    """Return the statuses that the client got and the gateway counted, and how many the client should not get."""
    channels = [open_channel(running.gateway.target) for _ in range(connections)]
    stubs: list[Any] = [gateway_pb2_grpc.RecommendationServiceStub(channel) for channel in channels]
    for stub in stubs:
        await stub.Recommend(gateway_pb2.RecommendRequest(user_id="u1"))
    before = await counted_calls(running.gateway, "Recommend")
    client: Counter[str] = Counter()
    illegal = 0

    async def call(stub: Any, number: int) -> None:
        nonlocal illegal
        made = stub.Recommend(gateway_pb2.RecommendRequest(user_id=f"u{number % 20}"), timeout=_DEADLINE_S)
        code = (await made.code()).name
        client[code] += 1
        illegal += code not in _LEGAL or (code == "RESOURCE_EXHAUSTED" and not await _has_details(made))

    await asyncio.gather(*(call(stubs[number % connections], number) for number in range(_CALLS)))
    await asyncio.sleep(_SETTLE_S)
    server = await counted_calls(running.gateway, "Recommend") - before
    for channel in channels:
        await channel.close()
    return client, server, illegal


async def _has_details(call: grpc.aio.Call) -> bool:
    return any(key == "grpc-status-details-bin" for key, _ in await call.trailing_metadata() or ())

"""What do callers get who call all at once, and does the gateway count the same?

Every call must be OK, RESOURCE_EXHAUSTED with RetryInfo, or DEADLINE_EXCEEDED. Calls beyond the streams of a connection
wait in the client; those that end there never reach the server, which cannot count them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.faults.services import Services, counted_calls, services, tiny_release
from benchmarks.harness.record import Result, Threshold, at_most
from common.server import event_loop
from common.server.channel import open_channel

_CALLS: Final = 4_000
_DEADLINE_S: Final = 5.0
_LEGAL: Final = {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
# Connections, and the gateway's own settings.
_TRIALS: Final[tuple[tuple[str, int, Mapping[str, int]], ...]] = (
    ("one connection", 1, {}),
    ("8 connections", 8, {}),
    ("one connection with 500 streams", 1, {"max-streams": 500}),
)


@dataclass(frozen=True)
class _Burst:
    """The statuses that the client got and the gateway counted, and how many the client should not get."""

    client: Counter[str]
    gateway: Counter[str]
    illegal: int


def run(quick: bool, console: Console) -> Result:
    """Send the bursts; quick sends one."""
    del console
    table = Table("trial", "status", "client", "gateway", title=f"{_CALLS:,} calls at once, deadline {_DEADLINE_S:g} s")
    figures: dict[str, Any] = {}
    thresholds: list[Threshold] = []
    with tiny_release() as release:
        for name, connections, settings in _TRIALS[: 1 if quick else None]:
            with services(release, settings) as running:
                burst = event_loop.run(_burst(running, connections))
            _add_rows(table, name, burst)
            figures[name] = {"client": dict(burst.client), "gateway": dict(burst.gateway)}
            thresholds.append(at_most(f"{name}: calls with another status, or without RetryInfo", 0, burst.illegal))
            if not settings:
                missing = abs(burst.client.total() - burst.gateway.total())
                thresholds.append(at_most(f"{name}: calls that only one side counts", 0, missing))
    return Result(figures, thresholds, [table])


def _add_rows(table: Table, name: str, burst: _Burst) -> None:
    for status in sorted(burst.client | burst.gateway):
        table.add_row(name, status, f"{burst.client[status]:,}", f"{burst.gateway[status]:,}")
    table.add_row(name, "all", f"{burst.client.total():,}", f"{burst.gateway.total():,}", end_section=True)


async def _burst(running: Services, connections: int) -> _Burst:
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
    server = await counted_calls(running.gateway, "Recommend") - before
    for channel in channels:
        await channel.close()
    return _Burst(client, server, illegal)


async def _has_details(call: grpc.aio.Call) -> bool:
    return any(key == "grpc-status-details-bin" for key, _ in await call.trailing_metadata() or ())

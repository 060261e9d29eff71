"""How soon do all servers that share a Redis stream find a change, and does a restarted one catch up?"""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from benchmarks.harness.change_writer import TIMEOUT_S, ChangeWriter, Faults, Prices, prices_of, searched_prices
from benchmarks.harness.record import Result, at_least, at_most
from common.server import event_loop
from testing.redis_server import RedisServer
from testing.server_process import ServerProcess
from testing.tiny_shop import build_tiny_release, tiny_items

if TYPE_CHECKING:
    from shortlist.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceAsyncStub

_CHANGES: Final = 300
_QUICK_CHANGES: Final = 40
_ROUNDS: Final = 5
_MISSED: Final = 100
_NEW_ITEMS: Final = 60
_LIMIT_S: Final = 1.0
_SEED: Final = 11


@dataclass
class _Measurements:
    """What was measured so far."""

    seen_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    redis_back_s: float = 0.0
    different: int = 0


class _Replica:
    def __init__(self, release: Path, folder: Path, name: str, stream: str) -> None:
        self.server = ServerProcess("retrieval", {"release": release, "change-stream": stream}, folder / f"{name}.log")
        self.stub: Any = retrieval_pb2_grpc.RetrievalServiceStub(self.server.channel)

    async def start(self) -> float:
        """Start the server; returns the seconds until it was ready."""
        began = time.monotonic()
        await self.server.start()
        await self.server.serving()
        return time.monotonic() - began


def run(quick: bool, console: Console) -> Result:
    """Change items on two servers in turn, kill one of them, kill Redis, and compare what each finds."""
    del console
    with tempfile.TemporaryDirectory(prefix="retrieval-replicas-") as name:
        release = build_tiny_release(Path(name))
        redis = RedisServer(Path(name))
        redis.start()
        try:
            return event_loop.run(_measure(release, Path(name), redis, _QUICK_CHANGES if quick else _CHANGES))
        finally:
            redis.close()


async def _measure(release: Path, folder: Path, redis: RedisServer, changes: int) -> Result:
    replicas = [_Replica(release, folder, name, redis.url("shop")) for name in ("one", "other")]
    measurements, faults = _Measurements(), Faults()
    items = [*tiny_items()["item_id"], *(f"new-{number}" for number in range(_NEW_ITEMS))]
    try:
        for replica in replicas:
            measurements.start_s.append(await replica.start())
        writer = ChangeWriter(0, 1, await prices_of(replicas[0].stub, items), _SEED)
        await _change_in_turn(replicas, writer, measurements, changes)
        for _ in range(_ROUNDS):
            await _miss_changes(replicas, writer, measurements)
        await _kill_redis(replicas, writer, measurements, redis)
        for replica in replicas:
            writer.compare(await prices_of(replica.stub, items), faults)
    finally:
        for replica in replicas:
            await replica.server.close()
    return _result(measurements, faults, writer)


async def _change_in_turn(
    replicas: Sequence[_Replica], writer: ChangeWriter, measurements: _Measurements, changes: int
) -> None:
    """Change items on either server, and measure how long after the answer both find the change."""
    chance = random.Random(_SEED)
    for _ in range(changes):
        await writer.change(chance.choice(replicas).stub)
        answered = time.monotonic()
        await asyncio.gather(*(_found(replica.stub, writer.acknowledged) for replica in replicas))
        measurements.seen_s.append(time.monotonic() - answered)


async def _miss_changes(replicas: Sequence[_Replica], writer: ChangeWriter, measurements: _Measurements) -> None:
    """Kill a server, change items on the other, start it again, and compare its first answer with the changes."""
    one, other = replicas
    await other.server.kill()
    for _ in range(_MISSED):
        await writer.change(one.stub)
    measurements.start_s.append(await other.start())
    measurements.different += await searched_prices(other.stub) != _existing(writer.acknowledged)
    await _change_in_turn(replicas, writer, measurements, 2)


async def _kill_redis(
    replicas: Sequence[_Replica], writer: ChangeWriter, measurements: _Measurements, redis: RedisServer
) -> None:
    """Kill Redis: searches continue and changes are refused. Start it again: changes are accepted."""
    before = _existing(writer.acknowledged)
    redis.signal(signal.SIGKILL)
    for replica in replicas:
        if await _is_changed(writer, replica):
            measurements.different += 1
        measurements.different += await searched_prices(replica.stub) != before
    redis.start()
    restarted = time.monotonic()
    while not await _is_changed(writer, replicas[0]):  # noqa: ASYNC110 - Redis sends no event
        await asyncio.sleep(0.02)
    measurements.redis_back_s = time.monotonic() - restarted
    await _change_in_turn(replicas, writer, measurements, 10)


async def _is_changed(writer: ChangeWriter, replica: _Replica) -> bool:
    try:
        await writer.change(replica.stub)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        writer.in_flight = {}  # Redis did not receive it
        return False
    return True


async def _found(stub: RetrievalServiceAsyncStub, expected: Prices) -> None:
    """Search for all items until exactly the expected ones are found, at most 30 s."""
    async with asyncio.timeout(TIMEOUT_S):
        request = retrieval_pb2.RetrieveRequest(limit=1_000)
        existing = _existing(expected)
        while True:
            answer = await stub.Retrieve(request, timeout=TIMEOUT_S)
            if {each.item_id for each in answer.candidates} == existing.keys() and await searched_prices(
                stub
            ) == existing:
                return


def _existing(prices: Prices) -> Prices:
    return {item_id: price for item_id, price in prices.items() if price is not None}


def _result(measurements: _Measurements, faults: Faults, writer: ChangeWriter) -> Result:
    seen = np.array(measurements.seen_s) * 1_000
    figures: dict[str, Any] = {
        "changes": writer.changes,
        "measured_changes": len(seen),
        "found_on_both_ms_p50": float(np.quantile(seen, 0.5)),
        "found_on_both_ms_p99": float(np.quantile(seen, 0.99)),
        "found_on_both_ms_most": float(seen.max()),
        "restarts_of_a_killed_server": _ROUNDS,
        "start_s_most": max(measurements.start_s),
        "redis_back_to_change_made_s": measurements.redis_back_s,
    }
    thresholds = [
        at_most(
            "seconds from the answer to a change until every server finds it, maximum",
            _LIMIT_S,
            max(measurements.seen_s),
        ),
        at_least("killed servers that started again", _ROUNDS, len(measurements.start_s) - 2),
        at_most("wrong first answers of a restarted server, or without Redis", 0, measurements.different),
        at_most("acknowledged changes lost on either server, in items", 0, faults.lost),
    ]
    table = Table("what", "figure", title="Two retrieval servers and Redis (append-only file, fsync always)")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:.4g}")
    return Result(figures, thresholds, [table])

"""How soon is a change found on every server that shares a Redis stream, and does one that was away catch up?"""

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

from benchmarks.harness.change_writer import TIMEOUT_S, ChangeWriter, Faults, Prices, found_prices, prices_of
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
class _Course:
    """What was measured so far; times in seconds."""

    seen_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    redis_back_s: float = 0.0
    different: int = 0


class _Replica:
    def __init__(self, release: Path, folder: Path, name: str, stream: str) -> None:
        self.server = ServerProcess("retrieval", {"release": release, "change-stream": stream}, folder / f"{name}.log")
        self.stub: RetrievalServiceAsyncStub = retrieval_pb2_grpc.RetrievalServiceStub(self.server.channel)

    async def start(self) -> float:
        """Start the server; returns the seconds until it served."""
        began = time.monotonic()
        await self.server.start()
        await self.server.serving()
        return time.monotonic() - began


def run(quick: bool, console: Console) -> Result:
    """Change items on two servers in turn, kill one of them, kill Redis, and look what each finds."""
    del console
    with tempfile.TemporaryDirectory(prefix="retrieval-replicas-") as name:
        release = build_tiny_release(Path(name))
        redis = RedisServer(Path(name))
        redis.start()
        try:
            return event_loop.run(_measured(release, Path(name), redis, _QUICK_CHANGES if quick else _CHANGES))
        finally:
            redis.close()


async def _measured(release: Path, folder: Path, redis: RedisServer, changes: int) -> Result:
    replicas = [_Replica(release, folder, name, redis.url("shop")) for name in ("one", "other")]
    course, faults = _Course(), Faults()
    items = [*tiny_items()["item_id"], *(f"new-{number}" for number in range(_NEW_ITEMS))]
    try:
        for replica in replicas:
            course.start_s.append(await replica.start())
        writer = ChangeWriter(0, 1, await prices_of(replicas[0].stub, items), _SEED)
        await _change_in_turn(replicas, writer, course, changes)
        for _ in range(_ROUNDS):
            await _miss_changes(replicas, writer, course)
        await _lose_redis(replicas, writer, course, redis)
        for replica in replicas:
            writer.settle(await prices_of(replica.stub, items), faults)
    finally:
        for replica in replicas:
            await replica.server.close()
    return _finding(course, faults, writer)


async def _change_in_turn(replicas: Sequence[_Replica], writer: ChangeWriter, course: _Course, changes: int) -> None:
    """Change by one server or the other, and measure how long after the answer both find it."""
    chance = random.Random(_SEED)
    for _ in range(changes):
        await writer.change(chance.choice(replicas).stub)
        answered = time.monotonic()
        await asyncio.gather(*(_found(replica.stub, writer.acknowledged) for replica in replicas))
        course.seen_s.append(time.monotonic() - answered)


async def _miss_changes(replicas: Sequence[_Replica], writer: ChangeWriter, course: _Course) -> None:
    """Kill a server, change by the other, start it again, and compare what both find from its first answer on."""
    one, other = replicas
    await other.server.kill()
    for _ in range(_MISSED):
        await writer.change(one.stub)
    course.start_s.append(await other.start())
    course.different += await found_prices(other.stub) != _there(writer.acknowledged)
    await _change_in_turn(replicas, writer, course, 2)


async def _lose_redis(replicas: Sequence[_Replica], writer: ChangeWriter, course: _Course, redis: RedisServer) -> None:
    """Kill Redis: searches go on, changes are refused; start it again, and go on changing."""
    before = _there(writer.acknowledged)
    redis.signal(signal.SIGKILL)
    for replica in replicas:
        if await _is_changed(writer, replica):
            course.different += 1
        course.different += await found_prices(replica.stub) != before
    redis.start()
    back = time.monotonic()
    while not await _is_changed(writer, replicas[0]):  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(0.02)
    course.redis_back_s = time.monotonic() - back
    await _change_in_turn(replicas, writer, course, 10)


async def _is_changed(writer: ChangeWriter, replica: _Replica) -> bool:
    try:
        await writer.change(replica.stub)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        writer.in_flight = {}  # Redis was not there to take it
        return False
    return True


async def _found(stub: RetrievalServiceAsyncStub, expected: Prices) -> None:
    """Search for everything until just the expected items are found, at most 30 s."""
    async with asyncio.timeout(TIMEOUT_S):
        request = retrieval_pb2.RetrieveRequest(limit=1_000)
        wanted = _there(expected)
        while True:
            answer = await stub.Retrieve(request, timeout=TIMEOUT_S)
            if {each.item_id for each in answer.candidates} == wanted.keys() and await found_prices(stub) == wanted:
                return


def _there(prices: Prices) -> Prices:
    return {item_id: price for item_id, price in prices.items() if price is not None}


def _finding(course: _Course, faults: Faults, writer: ChangeWriter) -> Result:
    seen = np.array(course.seen_s) * 1_000
    figures: dict[str, Any] = {
        "changes": writer.changes,
        "measured_changes": len(seen),
        "found_on_both_ms_p50": float(np.quantile(seen, 0.5)),
        "found_on_both_ms_p99": float(np.quantile(seen, 0.99)),
        "found_on_both_ms_most": float(seen.max()),
        "restarts_of_a_killed_server": _ROUNDS,
        "start_s_most": max(course.start_s),
        "redis_back_to_change_made_s": course.redis_back_s,
    }
    bars = [
        at_most("seconds from the answer to a change until every server finds it, most", _LIMIT_S, max(course.seen_s)),
        at_least("killed servers that came back", _ROUNDS, len(course.start_s) - 2),
        at_most("first answers of a server that came back, or without Redis, that were wrong", 0, course.different),
        at_most("acknowledged changes lost on either server, in items", 0, faults.lost),
    ]
    table = Table("what", "figure", title="Two retrieval servers and Redis (append-only file, fsync always)")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:.4g}")
    return Result(figures, bars, [table])

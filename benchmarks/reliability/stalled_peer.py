"""What does a stalled ranking service cost the gateway's callers?

Ranking is stopped by SIGSTOP under load, as a hung process or host would be: its connections stay open and nothing
answers. Later SIGCONT lets it go on. The callers keep a steady pace, so that the time of a call is not that of the
queue which faster answers would build. The release is tiny: it is the gateway that is measured.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2

from benchmarks.harness.record import Result, at_least, at_most
from benchmarks.reliability.recommend_load import CallRecord, RecommendLoad, quantile_ms
from common.gc_freeze import freeze_heap
from common.server import event_loop
from testing.local_server import LocalServer, local_server
from testing.tiny_shop import USERS, build_tiny_release

_CALLERS: Final = 50
_DEADLINE_S: Final = 0.15
_INTERVAL_S: Final = 1.0
_WARM_UP_S: Final = 5.0
_GRACE_S: Final = 1.0
_MAX_DEGRADED_P99_MS: Final = 15.0
_MAX_RECOVERY_S: Final = 2.0


@dataclass(frozen=True)
class _Times:
    """When the load began, ranking was stopped, and it went on; in seconds of the monotonic clock."""

    began_s: float
    stopped_s: float
    continued_s: float


def run(quick: bool, console: Console) -> Result:
    """Stop and continue ranking under load; quick stops it for a shorter time."""
    del console
    with tempfile.TemporaryDirectory(prefix="stalled-peer-") as name, ExitStack() as servers:
        folder = Path(name)
        release = build_tiny_release(folder)
        changes = {"release": release, "data-dir": folder / "changes"}
        retrieval = servers.enter_context(local_server("retrieval", changes, folder / "retrieval.log"))
        ranking = servers.enter_context(local_server("ranking", {"release": release}, folder / "ranking.log"))
        targets = {"retrieval-target": retrieval.target, "ranking-target": ranking.target}
        settings = targets | {"profiles": folder / "profiles.sqlite3"}
        gateway = servers.enter_context(local_server("gateway", settings, folder / "gateway.log"))
        return event_loop.run(_measure(gateway, ranking, 4.0 if quick else 20.0))


async def _measure(gateway: LocalServer, ranking: LocalServer, stopped_for_s: float) -> Result:
    load = RecommendLoad(gateway.target, _CALLERS, _INTERVAL_S, _DEADLINE_S, _request)
    callers = asyncio.create_task(load.run())
    await asyncio.sleep(_WARM_UP_S)
    freeze_heap()
    load.calls.clear()
    began_s = time.monotonic()
    await asyncio.sleep(_WARM_UP_S)
    limit_before = await _metric(gateway, "call_limit")
    stopped_s = time.monotonic()
    os.kill(ranking.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(stopped_for_s)
        limit_after = await _metric(gateway, "call_limit")
    finally:
        os.kill(ranking.pid, signal.SIGCONT)
    continued_s = time.monotonic()
    await asyncio.sleep(_WARM_UP_S)
    callers.cancel()
    await asyncio.gather(callers, return_exceptions=True)
    figures = _figures(load, _Times(began_s, stopped_s, continued_s))
    return _result(figures | {"call limit before": limit_before, "call limit at the end of the stop": limit_after})


def _request(chosen: random.Random) -> gateway_pb2.RecommendRequest:
    return gateway_pb2.RecommendRequest(user_id=f"u{chosen.randrange(USERS)}")


def _figures(load: RecommendLoad, times: _Times) -> dict[str, float]:
    before = load.between(times.began_s, times.stopped_s)
    stopped = load.between(times.stopped_s + _GRACE_S, times.continued_s)
    degraded = [call for call in stopped if call.answered and not call.full]
    return {
        "calls": len(load.calls),
        "answered share": sum(call.answered for call in load.calls) / len(load.calls),
        "full answers before, p50 ms": quantile_ms(before, 0.5),
        "full answers before, p99 ms": quantile_ms(before, 0.99),
        "degraded answers after the first second": len(degraded),
        "degraded p50 ms": quantile_ms(degraded, 0.5),
        "degraded p99 ms": quantile_ms(degraded, 0.99),
        "seconds of the stop until the last slow answer": _until_fast(load, times),
        "seconds until all answers are full again": _until_full(load.between(times.continued_s), times.continued_s),
    }


def _until_fast(load: RecommendLoad, times: _Times) -> float:
    """Return until when answers of the first second took half of the deadline or more."""
    first = load.between(times.stopped_s - _DEADLINE_S, times.stopped_s + _GRACE_S)
    slow = [call.began_s + call.ms / 1e3 for call in first if call.ms >= _DEADLINE_S * 500]
    return max(slow, default=times.stopped_s) - times.stopped_s


def _until_full(after: list[CallRecord], continued_s: float) -> float:
    """Return the seconds until the beginning of the last call that was not answered in full."""
    return max((call.began_s - continued_s for call in after if not call.full), default=0.0)


async def _metric(server: LocalServer, name: str) -> float:
    def read() -> str:
        url = f"http://{server.metrics}/metrics"
        return str(urllib.request.urlopen(url).read().decode())

    lines = (await asyncio.to_thread(read)).splitlines()
    return float(next(line for line in lines if line.startswith(f"shortlist_gateway_{name} ")).split()[1])


def _result(figures: dict[str, float]) -> Result:
    table = Table("what", "figure", title=f"ranking stopped, {_CALLERS} callers, deadline {_DEADLINE_S * 1e3:g} ms")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.4g}")
    recorded: dict[str, Any] = dict(figures)
    thresholds = [
        at_least("share of calls answered", 1.0, figures["answered share"]),
        at_most("degraded answers after the first second, p99 ms", _MAX_DEGRADED_P99_MS, figures["degraded p99 ms"]),
        at_most(
            "seconds from SIGCONT to full answers", _MAX_RECOVERY_S, figures["seconds until all answers are full again"]
        ),
        at_least("call limit kept", figures["call limit before"], figures["call limit at the end of the stop"]),
    ]
    return Result(recorded, thresholds, [table])

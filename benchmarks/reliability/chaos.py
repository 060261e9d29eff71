"""Do faults lose an acknowledged write, return a wrong item, hold calls past their deadlines, or end a thread?

Two retrieval servers on a Redis stream with a standby, ranking and a gateway run under load. One fault after the other
happens to them: kills, hangs, broken connections, a full and a slow disk, wrong clocks, failing over, swaps of
releases. Each lasts a moment. Then the time is measured until answers are complete and writes are acknowledged again.
`SHORTLIST_CHAOS_MINUTES` (5) bounds the run; `SHORTLIST_SEED` gives the order of faults, and reproduces it.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import grpc
from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from benchmarks.harness.record import Result, at_least, at_most
from benchmarks.reliability.acknowledged_writes import CatalogueWriter, EventWriter
from benchmarks.reliability.chaos_actions import Action, schedule
from benchmarks.reliability.chaos_cluster import Cluster
from benchmarks.reliability.deadline_reference import DeadlineReference, late_calls
from benchmarks.reliability.recommend_load import RecommendLoad
from benchmarks.reliability.releases import two_releases
from common.gc_freeze import freeze_heap
from common.server import event_loop
from testing.tiny_shop import USERS, tiny_items

_CALLERS: Final = 8
_INTERVAL_S: Final = 0.2
_DEADLINE_S: Final = 0.5
_FAULT_S: Final = (0.5, 2.5)
_MAX_RECOVERY_S: Final = 30.0
_TOLERANCE_MS: Final = 20.0
_LIMIT: Final = 5
_POLL_S: Final = 0.05
_ITEMS: Final = frozenset(tiny_items()["item_id"])


def run(quick: bool, console: Console) -> Result:
    """Run for some minutes; quick for one."""
    minutes = 1.0 if quick else float(os.environ.get("SHORTLIST_CHAOS_MINUTES", "5"))
    seed = os.environ.get("SHORTLIST_SEED", "0")
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        releases = two_releases(Path(name))
        result = event_loop.run(_run(releases, Path(name), console, minutes * 60.0, seed))
        for log in sorted(Path(name).glob("*.log")):
            if stacks := log.read_text(errors="replace").count("Traceback"):
                console.print(f"{log.name}: {stacks} stack traces; the last: {_last_stack(log)}", highlight=False)
        return result


async def _run(releases: Sequence[Path], folder: Path, console: Console, seconds: float, seed: str) -> Result:
    async with Cluster(releases[0], folder) as cluster:
        return await _Chaos(cluster, releases, console, seed).run(seconds)


class _Chaos:
    def __init__(self, cluster: Cluster, releases: Sequence[Path], console: Console, seed: str) -> None:
        self._cluster = cluster
        self._releases = releases
        self._console = console
        self._seed = seed
        self._chosen = random.Random(seed)
        self._requests = random.Random(seed)  # as many are drawn as there is time for
        self._events = EventWriter(cluster.gateway)
        self._items = CatalogueWriter(cluster.retrieval, seed)
        target = f"127.0.0.1:{cluster.servers['gateway'].port}"
        self._load = RecommendLoad(target, _CALLERS, _INTERVAL_S, _DEADLINE_S, _request, seed, self._count_wrong)
        self._reference = DeadlineReference(_DEADLINE_S)
        self._recovery_s: dict[str, float] = {}

    async def run(self, seconds: float) -> Result:
        """Cause faults until the time is over, and check what must hold."""
        await self._recovered()
        threads = self._cluster.threads()
        work = (self._load.run(), self._events.run(), self._items.run(), self._reference.run())
        tasks = [asyncio.create_task(one) for one in work]
        await asyncio.sleep(_FAULT_S[1])
        freeze_heap()
        ends_s, done = time.monotonic() + seconds, 0
        while time.monotonic() < ends_s:
            for action in schedule(self._chosen, self._releases):
                if time.monotonic() >= ends_s:
                    break
                await self._cause(action)
                done += 1
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        broken = [error for error in ended if not isinstance(error, asyncio.CancelledError)]
        return await self._result(done, threads, len(broken))

    async def _cause(self, action: Action) -> None:
        held_s = self._chosen.uniform(*_FAULT_S)
        await action.begin(self._cluster)
        await asyncio.sleep(held_s)
        ended_s = time.monotonic()
        await action.end(self._cluster)
        await self._recovered()
        took_s = time.monotonic() - ended_s
        self._recovery_s[action.name] = max(took_s, self._recovery_s.get(action.name, 0.0))
        self._console.print(f"{action.name}: {held_s:.1f} s, recovered in {took_s:.2f} s", highlight=False)

    async def _recovered(self) -> None:
        """Wait until an answer is complete and both kinds of writes are acknowledged, or for too long."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < _MAX_RECOVERY_S:
            writes = [self._items.write(server) for server in self._cluster.retrieval]
            if all(await asyncio.gather(self._answers_in_full(), self._events.write(), *writes)):
                return
            await asyncio.sleep(_POLL_S)

    async def _answers_in_full(self) -> bool:
        try:
            answer = await self._cluster.gateway.Recommend(_request(self._requests), timeout=2 * _DEADLINE_S)
        except grpc.aio.AioRpcError:
            return False
        return not answer.degradations

    def _count_wrong(self, request: gateway_pb2.RecommendRequest, answer: gateway_pb2.RecommendResponse) -> int:
        """Count items that no release or change has, that are blocked, filtered out, repeated or too many."""
        ids = [item.item_id for item in answer.items]
        unknown = [item_id for item_id in ids if item_id not in _ITEMS and item_id not in self._items.known]
        blocked = set(ids) & set(request.policy.blocked_item_ids)
        brands = set(request.filter.match.values)
        filtered = [item for item in answer.items if brands and item.brand not in brands]
        return len(unknown) + len(blocked) + len(filtered) + len(ids) - len(set(ids)) + max(len(ids) - _LIMIT, 0)

    async def _result(self, done: int, threads: dict[str, int], broken: int) -> Result:
        calls = self._load.calls
        late = self._reference.too_late(calls, _TOLERANCE_MS)
        one, other = self._cluster.retrieval
        followed = [await self._items.is_seen(one, other, 5.0), await self._items.is_seen(other, one, 5.0)]
        served = await self._cluster.served_releases()
        now = self._cluster.threads()
        figures: dict[str, Any] = {
            "faults caused": done,
            "Recommend calls": len(calls),
            "share answered": sum(call.answered for call in calls) / len(calls),
            "share complete": sum(call.full for call in calls) / len(calls),
            "events acknowledged": len(self._events.acknowledged),
            "catalogue changes acknowledged": len(self._items.prices),
            "writes refused": self._events.failed + self._items.failed,
            "wrong items": sum(call.wrong_items for call in calls),
            "events lost": await self._events.lost(),
            "catalogue changes lost": await self._items.lost(),
            "calls past their deadline by 20 ms": len(late),
            "late calls while the machine itself was late": len(late_calls(calls, _TOLERANCE_MS)) - len(late),
            "latest past its deadline, ms": max(call.ms - call.deadline_ms for call in calls),
            "latest reference past its deadline, ms": self._reference.latest_ms(),
            "threads lost": sum(max(threads[name] - now[name], 0) for name in threads),
            "servers that no longer follow changes": followed.count(False),
            "swaps of releases refused": self._cluster.refused_swaps,
            "releases served at the end": len(set(served)),
            "longest recovery, s": max(self._recovery_s.values()),
            "seed": self._seed,
            "recovery_s": dict(sorted(self._recovery_s.items())),
        }
        zero = ["wrong items", "events lost", "catalogue changes lost", "calls past their deadline by 20 ms"]
        zero += ["threads lost", "servers that no longer follow changes", "swaps of releases refused"]
        thresholds = [at_most(name, 0, figures[name]) for name in zero]
        thresholds += [at_most("releases served at the end", 1, figures["releases served at the end"])]
        thresholds += [at_most("tasks of the load that broke", 0, broken), at_least("faults caused", 1, done)]
        thresholds.append(at_most("longest recovery, s", _MAX_RECOVERY_S - 1, figures["longest recovery, s"]))
        return Result(figures, thresholds, [_figures_table(figures), _recovery_table(self._recovery_s)])


def _request(chosen: random.Random) -> gateway_pb2.RecommendRequest:
    request = gateway_pb2.RecommendRequest(user_id=f"u{chosen.randrange(USERS)}", limit=_LIMIT)
    request.policy.blocked_item_ids.extend(chosen.sample(sorted(_ITEMS), 20))
    if chosen.random() < 0.5:  # noqa: PLR2004 - half of them
        request.filter.match.CopyFrom(retrieval_pb2.Match(attribute="brand", values=["acme"]))
    return request


def _figures_table(figures: dict[str, Any]) -> Table:
    table = Table("what", "figure", title="chaos")
    for name, value in figures.items():
        if not isinstance(value, dict):
            table.add_row(name, f"{value:,.4g}" if isinstance(value, float) else str(value))
    return table


def _recovery_table(recovery_s: dict[str, float]) -> Table:
    table = Table(
        "fault", "recovered in, s", title="longest time from the end of a fault to complete answers and writes"
    )
    for name, seconds in sorted(recovery_s.items()):
        table.add_row(name, f"{seconds:.2f}")
    return table


def _last_stack(log: Path) -> str:
    return log.read_text(errors="replace").rpartition("Traceback")[2][-700:]

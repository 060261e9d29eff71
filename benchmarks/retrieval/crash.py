"""Does `kill -9` at any moment lose an acknowledged change, or restore a deleted item?"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.retrieval.v1 import retrieval_pb2_grpc

from benchmarks.harness.change_writer import ChangeWriter, Faults, prices_of, search_while_changing, searched_prices
from benchmarks.harness.record import Result, at_least, at_most
from common.errors import NotReady
from common.server import event_loop
from testing.server_process import ServerProcess
from testing.tiny_shop import build_tiny_release, tiny_items

_KILLS: Final = 200
_QUICK_KILLS: Final = 10
_WRITERS: Final = 4
_NEW_ITEMS: Final = 60
_SEED: Final = 9
# Seconds of changes before a kill, uniformly at random; a change takes some milliseconds.
_LIFE_S: Final = (0.0, 0.6)
# One of this many starts is killed as well.
_KILL_EVERY_STARTS: Final = 5


@dataclass
class CrashCounts:
    """What was counted so far."""

    kills: int = 0
    kills_in_flight: int = 0
    kills_while_starting: int = 0
    starts: int = 0
    serving: int = 0
    wrong_searches: int = 0
    start_s: list[float] = field(default_factory=list)


def run(quick: bool, console: Console) -> Result:
    """Kill a server again and again during changes and searches, and compare its items after each restart."""
    with tempfile.TemporaryDirectory(prefix="retrieval-crash-") as folder:
        release = build_tiny_release(Path(folder))
        return event_loop.run(_measure(release, Path(folder), console, _QUICK_KILLS if quick else _KILLS))


async def _measure(release: Path, folder: Path, console: Console, kills: int) -> Result:
    crash = _Crash(release, folder, console)
    await crash.run(kills)
    return crash.result(kills)


class _Crash:
    def __init__(self, release: Path, folder: Path, console: Console) -> None:
        self.log = folder / "server.log"
        flags = {"release": release, "data-dir": folder / "changes"}
        self.server = ServerProcess("retrieval", flags, self.log)
        self.stub: Any = retrieval_pb2_grpc.RetrievalServiceStub(self.server.channel)
        self.console = console
        self.faults, self.counts = Faults(), CrashCounts()
        self.writers: list[ChangeWriter] = []
        self.items = [*tiny_items()["item_id"], *(f"new-{number}" for number in range(_NEW_ITEMS))]
        self.random = random.Random(_SEED)

    async def run(self, kills: int) -> None:
        """Change items and kill the server ``kills`` times."""
        try:
            await self._start()
            self.writers = await self._create_writers()
            while self.counts.kills < kills:
                await self._change_until_killed()
                await self._start()
                await self._compare()
                if self.counts.kills % 20 == 0:
                    self.console.print(f"{self.counts.kills} kills …")
        finally:
            await self.server.close()

    def result(self, kills: int) -> Result:
        """Return figures and thresholds."""
        changes = sum(writer.changes for writer in self.writers)
        torn = self.log.read_text().count("torn tail of the write-ahead log cut off")
        figures: dict[str, Any] = asdict(self.counts) | asdict(self.faults)
        seconds = figures.pop("start_s")
        figures |= {"acknowledged_changes": changes, "torn_tails": torn} | _quantiles(seconds)
        thresholds = [
            at_least("kills while items are changed", kills, self.counts.kills),
            at_most("acknowledged changes lost, in items", 0, self.faults.lost),
            at_most("changes applied in part", 0, self.faults.half_applied),
            at_most("deleted items returned by a search", 0, self.faults.returned),
            at_most("searches after a restart that differ from the items there", 0, self.counts.wrong_searches),
            at_least("share of restarts that serve", 1, self.counts.serving / self.counts.starts),
        ]
        return Result(figures, thresholds, [_table(figures)])

    async def _start(self) -> None:
        """Start the server and wait until it serves; some starts are killed first."""
        if self.counts.starts % _KILL_EVERY_STARTS == _KILL_EVERY_STARTS - 1:
            await self.server.start()
            await asyncio.sleep(self.random.uniform(0, np.median(self.counts.start_s)))
            await self.server.kill()
            self.counts.kills_while_starting += 1
        if not await self._restart() and not await self._restart():
            raise NotReady(f"the server does not start again: {self.server.last_line()}")

    async def _restart(self) -> bool:
        began = time.monotonic()
        self.counts.starts += 1
        await self.server.start()
        try:
            await self.server.serving()
        except NotReady as error:
            self.console.print(f"[red]after {self.counts.kills} kills:[/] {error}", highlight=False)
            await self.server.kill()
            return False
        self.counts.serving += 1
        self.counts.start_s.append(time.monotonic() - began)
        return True

    async def _create_writers(self) -> list[ChangeWriter]:
        prices = await prices_of(self.stub, self.items)
        shares = [self.items[number::_WRITERS] for number in range(_WRITERS)]
        return [
            ChangeWriter(number, _WRITERS, {item_id: prices[item_id] for item_id in share}, _SEED)
            for number, share in enumerate(shares)
        ]

    async def _change_until_killed(self) -> None:
        tasks = [asyncio.create_task(writer.run(self.stub)) for writer in self.writers]
        tasks.append(asyncio.create_task(search_while_changing(self.stub, self.writers, self.faults)))
        await asyncio.sleep(self.random.uniform(*_LIFE_S))
        await self.server.kill()
        self.counts.kills += 1
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        self.counts.kills_in_flight += any(writer.in_flight for writer in self.writers)
        for error in errors:
            if not isinstance(error, grpc.aio.AioRpcError) or error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise NotReady(f"a call failed for another reason than the kill: {error!r}")

    async def _compare(self) -> None:
        """Compare the server's items with the acknowledged changes, and searches with the items."""
        items = await prices_of(self.stub, self.items)
        for writer in self.writers:
            writer.compare(items, self.faults)
        present = {item_id: price for item_id, price in items.items() if price is not None}
        for found in (await searched_prices(self.stub), await searched_prices(self.stub, query="fresh milk")):
            self.counts.wrong_searches += found != present
            self.faults.returned += len(found.keys() - present.keys())


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    return {"start_s_median": float(np.median(seconds)), "start_s_most": float(np.max(seconds))}


def _table(figures: dict[str, Any]) -> Table:
    table = Table("what", "figure", title="kill -9 of a retrieval server during changes and searches")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else f"{value:,}")
    return table

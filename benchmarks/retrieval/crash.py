"""Does `kill -9` at any moment cost an acknowledged change, or bring a deleted item back?"""

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

from benchmarks.harness.change_writer import ChangeWriter, Faults, found_prices, prices_of, search_beside
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
# How long changes go on before a kill, in seconds, drawn evenly; a change takes some milliseconds.
_LIFE_S: Final = (0.0, 0.6)
# Every so many restarts the server is killed while it starts, too.
_KILLED_STARTING: Final = 5


@dataclass
class Course:
    """What happened so far."""

    kills: int = 0
    kills_in_flight: int = 0
    kills_while_starting: int = 0
    starts: int = 0
    serving: int = 0
    wrong_searches: int = 0
    start_s: list[float] = field(default_factory=list)


def run(quick: bool, console: Console) -> Result:
    """Kill a server again and again while it is changed and searched, and compare what comes back."""
    with tempfile.TemporaryDirectory(prefix="retrieval-crash-") as folder:
        release = build_tiny_release(Path(folder))
        return event_loop.run(_crashed(release, Path(folder), console, _QUICK_KILLS if quick else _KILLS))


async def _crashed(release: Path, folder: Path, console: Console, kills: int) -> Result:
    crash = _Crash(release, folder, console)
    await crash.run(kills)
    return crash.finding(kills)


class _Crash:
    def __init__(self, release: Path, folder: Path, console: Console) -> None:
        self.log = folder / "server.log"
        flags = {"release": release, "data-dir": folder / "changes"}
        self.server = ServerProcess("retrieval", flags, self.log)
        self.stub = retrieval_pb2_grpc.RetrievalServiceStub(self.server.channel)
        self.console = console
        self.faults, self.course = Faults(), Course()
        self.writers: list[ChangeWriter] = []
        self.items = [*tiny_items()["item_id"], *(f"new-{number}" for number in range(_NEW_ITEMS))]
        self.random = random.Random(_SEED)

    async def run(self, kills: int) -> None:
        """Change and kill ``kills`` times, and look once more."""
        try:
            await self._start()
            self.writers = await self._hire()
            while self.course.kills < kills:
                await self._change_until_killed()
                await self._start()
                await self._settle()
                if self.course.kills % 20 == 0:
                    self.console.print(f"{self.course.kills} kills …")
        finally:
            await self.server.close()

    def finding(self, kills: int) -> Result:
        """Return what was found."""
        changes = sum(writer.changes for writer in self.writers)
        torn = self.log.read_text().count("torn tail cut off")
        figures: dict[str, Any] = asdict(self.course) | asdict(self.faults)
        seconds = figures.pop("start_s")
        figures |= {"acknowledged_changes": changes, "torn_tails": torn} | _quantiles(seconds)
        bars = [
            at_least("kills while items are changed", kills, self.course.kills),
            at_most("acknowledged changes lost, in items", 0, self.faults.lost),
            at_most("changes applied in part", 0, self.faults.half_applied),
            at_most("deleted items returned by a search", 0, self.faults.returned),
            at_most("searches after a restart that differ from the items there", 0, self.course.wrong_searches),
            at_least("share of restarts that serve", 1, self.course.serving / self.course.starts),
        ]
        return Result(figures, bars, [_table(figures)])

    async def _start(self) -> None:
        """Start the server and wait until it serves; now and then it is killed while it starts."""
        if self.course.starts % _KILLED_STARTING == _KILLED_STARTING - 1:
            await self.server.start()
            await asyncio.sleep(self.random.uniform(0, np.median(self.course.start_s)))
            await self.server.kill()
            self.course.kills_while_starting += 1
        if not await self._restart() and not await self._restart():
            raise NotReady(f"the server can't be started any more: {self.server.last_line()}")

    async def _restart(self) -> bool:
        began = time.monotonic()
        self.course.starts += 1
        await self.server.start()
        try:
            await self.server.serving()
        except NotReady as error:
            self.console.print(f"[red]after {self.course.kills} kills:[/] {error}", highlight=False)
            await self.server.kill()
            return False
        self.course.serving += 1
        self.course.start_s.append(time.monotonic() - began)
        return True

    async def _hire(self) -> list[ChangeWriter]:
        prices = await prices_of(self.stub, self.items)
        shares = [self.items[number::_WRITERS] for number in range(_WRITERS)]
        return [
            ChangeWriter(number, _WRITERS, {item_id: prices[item_id] for item_id in share}, _SEED)
            for number, share in enumerate(shares)
        ]

    async def _change_until_killed(self) -> None:
        tasks = [asyncio.create_task(writer.work(self.stub)) for writer in self.writers]
        tasks.append(asyncio.create_task(search_beside(self.stub, self.writers, self.faults)))
        await asyncio.sleep(self.random.uniform(*_LIFE_S))
        await self.server.kill()
        self.course.kills += 1
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        self.course.kills_in_flight += any(writer.in_flight for writer in self.writers)
        for error in ended:
            if not isinstance(error, grpc.aio.AioRpcError) or error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise NotReady(f"a call failed, and not for the kill: {error!r}")

    async def _settle(self) -> None:
        """Compare what the server has with what its callers know, and what searches find with what it has."""
        there = await prices_of(self.stub, self.items)
        for writer in self.writers:
            writer.settle(there, self.faults)
        present = {item_id: price for item_id, price in there.items() if price is not None}
        for found in (await found_prices(self.stub), await found_prices(self.stub, query="fresh milk")):
            self.course.wrong_searches += found != present
            self.faults.returned += len(found.keys() - present.keys())


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    return {"start_s_median": float(np.median(seconds)), "start_s_most": float(np.max(seconds))}


def _table(figures: dict[str, Any]) -> Table:
    table = Table("what", "figure", title="kill -9 of a retrieval server while items are changed and searched")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else f"{value:,}")
    return table

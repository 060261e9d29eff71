"""Do searches stay fast while items change? Half of the maximum load, with and without 500 upserts per second."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from benchmarks.data.home_depot_vectors import HomeDepotVectors, home_depot_vectors
from benchmarks.harness.record import Result, Threshold, at_least, at_most
from benchmarks.harness.servers import retrieval_service
from common.arrays import Float32Array
from common.gc_freeze import freeze_heap
from common.server import event_loop
from common.server.channel import open_channel
from services.retrieval.ann.ann_index import AnnKind

_ITEMS_PER_S: Final = 500
_CALL_ITEMS: Final = 25
_TEXT_CALL_ITEMS: Final = 8
_CALLERS: Final = 16
_WARM_S: Final = 10.0
_TURN_S: Final = 20.0
_QUICK_TURN_S: Final = 4.0
_TURNS: Final = 3
# A new vector is moved by this part of the difference of two others.
_SHIFT: Final = 0.3
# Concurrent upserts: one that waits for the disk delays no other.
_UPSERTERS: Final = 2
_NO_UPSERTS: Final = "no upserts"
_PRICES: Final = "500 items/s, new prices, vectors given"
_VECTORS: Final = "500 items/s, new vectors given"
_TEXTS: Final = "texts embedded here"
_KINDS: Final = (_NO_UPSERTS, _PRICES, _VECTORS, _TEXTS)


@dataclass
class _Turn:
    """Searches and upserts of one turn."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    upserted: int = 0
    took_s: float = 0.0


def run(quick: bool, console: Console, index: AnnKind = "hnsw") -> Result:
    """Search without upserts, with new prices, new vectors and texts in turns; quick takes one short turn of each."""
    data = home_depot_vectors(console, index)
    with (
        tempfile.TemporaryDirectory() as folder,
        retrieval_service(data.release.path, Path(folder)) as server,
    ):
        rate, turns = event_loop.run(
            _measure(data, server.target, _QUICK_TURN_S if quick else _TURN_S, 1 if quick else _TURNS)
        )
        memory = server.memory_bytes()
    figures = {name: _summary(turns[name]) for name in _KINDS}
    settings = {"searches_per_s_asked": rate, "load_average": os.getloadavg()[0], "memory_bytes": memory}
    return Result(figures | settings, _thresholds(figures), [_table(figures, rate)])


def _thresholds(figures: Mapping[str, Mapping[str, float]]) -> list[Threshold]:
    still, churning = figures[_NO_UPSERTS]["p99_ms"], (_PRICES, _VECTORS)
    slower = (
        at_most(f"p99 of searches, times that without upserts: {name}", 3, figures[name]["p99_ms"] / still)
        for name in churning
    )
    kept_up = (
        at_least(f"items upserted per second: {name}", 0.98 * _ITEMS_PER_S, figures[name]["upserted_per_s"])
        for name in churning
    )
    return [at_most("searches that failed", 0, sum(found["failed"] for found in figures.values())), *slower, *kept_up]


async def _measure(
    data: HomeDepotVectors, target: str, turn_s: float, turns: int
) -> tuple[float, dict[str, list[_Turn]]]:
    async with open_channel(target) as channel:
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        search, upserts = _search(stub, data), _Upserts(stub, data)
        await _saturate(search, _WARM_S)
        rate = await _saturate(search, _WARM_S) / 2
        measured: dict[str, list[_Turn]] = {name: [] for name in _KINDS}
        for _ in range(turns):
            changes = (None, upserts.with_prices, upserts.with_vectors, upserts.with_texts)
            for name, change in zip(_KINDS, changes, strict=True):
                measured[name].append(await _turn(search, change, rate, turn_s))
        return rate, measured


def _search(stub: Any, data: HomeDepotVectors) -> Callable[[int], Awaitable[None]]:
    messages = [retrieval_pb2.RetrieveRequest(vector_f32=vector.tobytes()) for vector in data.query_vectors]

    async def search(number: int) -> None:
        response = await stub.Retrieve(messages[number % len(messages)], timeout=30)
        if len(response.candidates) != 100:  # noqa: PLR2004 - the default limit
            raise RuntimeError("an answer has fewer candidates than requested")

    return search


async def _saturate(search: Callable[[int], Awaitable[None]], seconds: float) -> float:
    """Return the searches per second of many callers that search without a pause."""
    ends, count = time.perf_counter() + seconds, 0

    async def caller() -> None:
        nonlocal count
        while time.perf_counter() < ends:
            await search(count)
            count += 1

    await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    return count / seconds


async def _turn(
    search: Callable[[int], Awaitable[None]],
    change: Callable[[], Awaitable[int]] | None,
    rate: float,
    seconds: float,
) -> _Turn:
    """Search at a constant rate, whether or not earlier searches are answered, and upsert meanwhile."""
    freeze_heap()  # else garbage collection of the benchmark itself, 200 ms at a time, would count as latency
    turn, began = _Turn(), time.perf_counter()
    upserting = asyncio.create_task(_upsert(change, turn, began + seconds))
    searches = []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        searches.append(asyncio.create_task(_timed(search, number, due, turn)))
    await asyncio.gather(*searches, upserting)
    turn.took_s = time.perf_counter() - began
    return turn


async def _timed(search: Callable[[int], Awaitable[None]], number: int, due: float, turn: _Turn) -> None:
    """Time a search from when it was due, so that one that was sent late counts as slow."""
    try:
        await search(number)
    except (grpc.aio.AioRpcError, RuntimeError):
        turn.failed += 1
    turn.seconds.append(time.perf_counter() - due)


async def _upsert(change: Callable[[], Awaitable[int]] | None, turn: _Turn, ends: float) -> None:
    """Upsert at the given rate; texts as fast as they are embedded."""
    if change is None:
        return
    began = time.perf_counter()

    async def upserter(change: Callable[[], Awaitable[int]]) -> None:
        while time.perf_counter() < ends:
            changed = await change()
            turn.upserted += changed  # not in one line: the other task counts while this one waits
            await asyncio.sleep(max(0.0, turn.upserted / _ITEMS_PER_S - (time.perf_counter() - began)))

    await asyncio.gather(*(upserter(change) for _ in range(_UPSERTERS)))


class _Upserts:
    """Upserts the catalogue's items again and again in a random order, each time with another price."""

    def __init__(self, stub: Any, data: HomeDepotVectors) -> None:
        self._stub = stub
        self._catalogue = data.catalogue()
        self._titles = self._catalogue.table["title"].to_pylist()
        self._vectors = data.vectors
        self._owner = np.load(data.release.file("index/vector_of_item.npy"))
        self._generator = np.random.default_rng(5)
        self._rows = np.random.default_rng(4).permutation(len(self._catalogue)).tolist()
        self._next = 0

    async def with_prices(self) -> int:
        """Upsert items with their own vectors."""
        rows = self._next_rows(_CALL_ITEMS)
        return await self._call(rows, self._vectors[self._owner[rows]])

    async def with_vectors(self) -> int:
        """Upsert items with new vectors: their own, moved by a part of the difference of two titles."""
        rows = self._next_rows(_CALL_ITEMS)
        one, other = self._generator.integers(len(self._vectors), size=(2, len(rows)))
        moved = self._vectors[self._owner[rows]] + _SHIFT * (self._vectors[one] - self._vectors[other])
        return await self._call(rows, moved)

    async def with_texts(self) -> int:
        """Upsert items with new titles, whose vectors are computed by the service."""
        return await self._call(self._next_rows(_TEXT_CALL_ITEMS), None)

    def _next_rows(self, count: int) -> list[int]:
        self._next += count
        return [self._rows[number % len(self._rows)] for number in range(self._next - count, self._next)]

    async def _call(self, rows: Sequence[int], vectors: Float32Array | None) -> int:
        items = [
            retrieval_pb2.Item(
                item_id=self._catalogue.item_ids[row],
                title=self._titles[row] + (f", lot {self._next}" if vectors is None else ""),
                price=float(self._next),
                vector_f32=b"" if vectors is None else vectors[number].tobytes(),
            )
            for number, row in enumerate(rows)
        ]
        await self._stub.UpsertItems(retrieval_pb2.UpsertItemsRequest(items=items), timeout=60)
        return len(items)


def _summary(turns: Sequence[_Turn]) -> dict[str, float]:
    seconds = np.concatenate([turn.seconds for turn in turns]) * 1e3
    took_s = sum(turn.took_s for turn in turns)
    return {
        "searches": len(seconds),
        "failed": sum(turn.failed for turn in turns),
        "p50_ms": float(np.percentile(seconds, 50)),
        "p99_ms": float(np.percentile(seconds, 99)),
        "upserted_per_s": sum(turn.upserted for turn in turns) / took_s,
    }


def _table(figures: Mapping[str, Mapping[str, float]], rate: float) -> Table:
    table = Table("upserts", "p50 ms", "p99 ms", "failed", "items/s", title=f"{rate:.0f} searches per second")
    for name, found in figures.items():
        table.add_row(
            name,
            f"{found['p50_ms']:.1f}",
            f"{found['p99_ms']:.1f}",
            f"{found['failed']:.0f}",
            f"{found['upserted_per_s']:.0f}",
        )
    return table

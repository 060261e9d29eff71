"""What does a million vectors cost? Build, memory, load and search, from ten thousand vectors upwards."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from benchmarks.data.home_depot_vectors import HomeDepotVectors
from benchmarks.data.million_vectors import SIZES, build_s, million_releases
from benchmarks.harness.growth_chart import Panel, growth_chart
from benchmarks.harness.record import Result, Threshold, at_most
from benchmarks.harness.servers import retrieval_service
from common.arrays import Float32Array
from common.gc_freeze import freeze_heap
from common.release import layout
from common.release.store import Release
from common.server import event_loop
from common.server.channel import open_channel
from services.retrieval.index.scoring import nearest
from testing.local_server import LocalServer

K: Final = 100
_PLOTS: Final = {
    "p50_ms": "p50 of Retrieve, ms",
    "p99_ms": "p99 of Retrieve, ms",
    "build_s": "graph build, s",
    "load_s": "release load, s",
    "bytes_per_item_in_memory": "memory, bytes per item",
    "recall": "recall@100",
}
_RATE_PER_S: Final = 200
_WARM_S: Final = 5.0
_TURN_S: Final = 30.0
_QUICK_TURN_S: Final = 3.0
_RECALL_QUERIES: Final = 100
# Inner products of the same vectors differ by up to this much between libraries.
_TIE: Final = 1e-5


def run(quick: bool, console: Console) -> Result:
    """Serve a release of each size; quick takes the two smallest."""
    titles, releases = million_releases(console, SIZES[:2] if quick else SIZES)
    turn_s = _QUICK_TURN_S if quick else _TURN_S
    figures = {size: _measure(release, titles, turn_s) for size, release in releases.items()}
    by_size = {f"{size} items": found for size, found in figures.items()}
    settings = {"searches_per_s": _RATE_PER_S, "k": K, "load_average": os.getloadavg()[0]}
    return Result(by_size | settings, _thresholds(figures), [_table(figures)], _chart(figures))


def _thresholds(figures: Mapping[int, Mapping[str, float]]) -> list[Threshold]:
    size = max(figures)
    what = f"p99 of Retrieve over {size:,} items at {_RATE_PER_S} requests per second, in milliseconds"
    failed = sum(found["failed"] for found in figures.values())
    return [at_most(what, 10, figures[size]["p99_ms"]), at_most("searches that failed or were refused", 0, failed)]


def _measure(release: Release, titles: HomeDepotVectors, turn_s: float) -> dict[str, float]:
    size = release.manifest.data.items
    with (
        tempfile.TemporaryDirectory() as folder,
        retrieval_service(release.path, Path(folder)) as server,
    ):
        seconds, failed, found = event_loop.run(_search(server, titles.query_vectors, turn_s))
        memory = server.memory_bytes()
    return {
        "items": size,
        "build_s": build_s(release),
        "bytes_per_item_on_disk": sum(file.bytes for file in release.manifest.files.values()) / size,
        "bytes_per_item_in_memory": memory / size,
        "load_s": server.start_s,
        "failed": failed,
        "p50_ms": float(np.percentile(seconds, 50)) * 1e3,
        "p99_ms": float(np.percentile(seconds, 99)) * 1e3,
        "recall": _recall(release, titles.query_vectors[: len(found)], found),
    }


async def _search(
    server: LocalServer, queries: Float32Array, turn_s: float
) -> tuple[list[float], int, list[list[int]]]:
    """Search at a constant rate, whether or not earlier searches are answered, each timed from when it was due."""
    async with open_channel(server.target) as channel:
        stub: Any = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        messages = [retrieval_pb2.RetrieveRequest(vector_f32=query.tobytes(), columns=True) for query in queries]
        await _search_at_rate(stub, messages, _WARM_S)
        seconds, failed = await _search_at_rate(stub, messages, turn_s)
        answers = [await stub.Retrieve(message, timeout=30) for message in messages[:_RECALL_QUERIES]]
    rows = [[int(item_id.removeprefix("item-")) for item_id in answer.columns.item_ids] for answer in answers]
    return seconds, failed, rows


async def _search_at_rate(
    stub: Any, messages: Sequence[retrieval_pb2.RetrieveRequest], turn_s: float
) -> tuple[list[float], int]:
    """Return the seconds of each search, and how many failed: a machine too slow for the rate refuses some."""
    freeze_heap()
    began, seconds, failed = time.perf_counter(), [], 0

    async def search(number: int, due: float) -> None:
        nonlocal failed
        try:
            answer = await stub.Retrieve(messages[number % len(messages)], timeout=30)
        except grpc.aio.AioRpcError:
            failed += 1
        else:
            failed += len(answer.columns.item_ids) != K
        seconds.append(time.perf_counter() - due)

    searches = []
    for number in range(int(_RATE_PER_S * turn_s)):
        due = began + number / _RATE_PER_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        searches.append(asyncio.create_task(search(number, due)))
    await asyncio.gather(*searches)
    return seconds, failed


def _recall(release: Release, queries: Float32Array, found: Sequence[Sequence[int]]) -> float:
    vectors = np.asarray(np.load(release.file(layout.VECTORS), mmap_mode="r"))
    shares = []
    for query, rows in zip(queries, found, strict=True):
        last = nearest(vectors, query[np.newaxis], K)[1][0, -1]
        shares.append(float((vectors[list(rows)] @ query >= last - _TIE).mean()))
    return float(np.mean(shares))


def _table(figures: Mapping[int, Mapping[str, float]]) -> Table:
    columns = ("items", "build s", "bytes/item on disk", "in memory", "load s", "p50 ms", "p99 ms", "recall")
    table = Table(*columns, title=f"Mixtures of Home Depot's titles, 384 dimensions, {_RATE_PER_S} searches per second")
    for size, found in figures.items():
        table.add_row(
            f"{size:,}",
            f"{found['build_s']:.0f}",
            f"{found['bytes_per_item_on_disk']:,.0f}",
            f"{found['bytes_per_item_in_memory']:,.0f}",
            f"{found['load_s']:.1f}",
            f"{found['p50_ms']:.1f}",
            f"{found['p99_ms']:.1f}",
            f"{found['recall']:.4f}",
        )
    return table


def _chart(figures: Mapping[int, Mapping[str, float]]) -> str:
    panels = [
        Panel(title, "items", {float(size): found[name] for size, found in figures.items()})
        for name, title in _PLOTS.items()
    ]
    return growth_chart(panels, "Growth with the catalogue", columns=2)

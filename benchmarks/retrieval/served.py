"""How much of hnswlib's throughput reaches a caller? The service, client included, and hnswlib in one process.

The service searches the index that a build chooses for this number of vectors. Its recall is compared with hnswlib's.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import hnswlib
import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from benchmarks.data.home_depot_vectors import HomeDepotVectors, home_depot_vectors
from benchmarks.harness.record import Result, at_least
from benchmarks.harness.servers import retrieval_service
from benchmarks.retrieval.index_types import last_scores
from common.arrays import Float32Array
from common.release import layout
from common.server import event_loop
from common.server.channel import open_channel
from services.retrieval.ann.ann_index import AnnKind, IndexOptions
from services.retrieval.index.reachability import TIE
from testing.local_server import LocalServer

K: Final = 100
EF_SEARCH: Final = IndexOptions.ef_search  # the service's default
BATCH: Final = 32
_ROUNDS: Final = 15
_QUICK_ROUNDS: Final = 4
_ROUND_S: Final = 1.0
_UNARY: Final = "Retrieve"
_BATCHED: Final = f"BatchRetrieve of {BATCH}"
_WITH_ITEMS: Final = ", with titles and prices"
_FEWER: Final = ", 16 callers"
_CALLERS: Final = {_UNARY: 64, _UNARY + _FEWER: 16, _BATCHED: 4, _UNARY + _WITH_ITEMS: 64, _BATCHED + _WITH_ITEMS: 4}
_NAMES: Final = ("hnswlib", *_CALLERS)
# If other work takes more of the processors, wall-clock time favours the side with more threads.
_MAX_OTHER_SHARE: Final = 0.03


def run(quick: bool, console: Console, index: AnnKind = "hnsw") -> Result:
    """Measure in turns of a second each; quick takes fewer turns."""
    data = home_depot_vectors(console, index)
    with (
        tempfile.TemporaryDirectory() as folder,
        retrieval_service(data.release.path, Path(folder)) as server,
    ):
        rounds, recall = event_loop.run(_measure(data, server, _QUICK_ROUNDS if quick else _ROUNDS))
    figures = {name: _summary(rounds, name) for name in _NAMES}
    others = float(np.median([found["others"]["share"] for found in rounds]))
    thresholds = [
        at_least(f"{name} by vector, share of hnswlib's queries per second", target, _fair_share(figures[name], others))
        for name, target in ((_UNARY, 0.25), (_BATCHED, 0.8))
    ]
    thresholds.append(at_least(f"recall@{K}, less hnswlib's", 0.0, recall[_BATCHED] - recall["hnswlib"]))
    settings = {
        "recall": recall,
        "callers": _CALLERS,
        "others_share_of_processors": others,
        "k": K,
        "ef_search": EF_SEARCH,
        "rounds": len(rounds),
    }
    return Result(figures | settings, thresholds, [_table(figures, others, recall)])


async def _measure(
    data: HomeDepotVectors, server: LocalServer, rounds: int
) -> tuple[list[dict[str, dict[str, float]]], dict[str, float]]:
    index = hnswlib.Index(space="ip", dim=data.query_vectors.shape[1])
    index.load_index(str(data.hnsw.file(layout.HNSW_INDEX)))
    index.set_ef(EF_SEARCH)
    async with open_channel(server.target) as channel:
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        calls = {
            _UNARY: _single(stub, columns=True),
            _UNARY + _FEWER: _single(stub, columns=True),
            _BATCHED: _batch(stub, columns=True),
            _UNARY + _WITH_ITEMS: _single(stub, columns=False),
            _BATCHED + _WITH_ITEMS: _batch(stub, columns=False),
        }
        vectors = itertools.cycle(np.array_split(data.query_vectors, len(data.query_vectors) // BATCH))
        for _ in range(len(data.query_vectors) // BATCH):  # every answer once, as in a warm server
            batch = next(vectors)
            await calls[_BATCHED](batch)
            await calls[_BATCHED + _WITH_ITEMS](batch)
        await calls[_UNARY](next(vectors))
        recall = {"hnswlib": _recall_of(data, index), _BATCHED: await _recall_measure_service(data, stub)}
        measured = []
        for _ in range(rounds):
            began, ours = _busy_s(), time.process_time() + server.cpu_s()
            found = {"hnswlib": _measure_hnswlib(index, vectors)}
            for name, call in calls.items():
                found[name] = await _measure_service(call, vectors, _CALLERS[name], server)
            others_s = _busy_s() - began - (time.process_time() + server.cpu_s() - ours)
            cores_s = len(found) * _ROUND_S * len(os.sched_getaffinity(0))
            measured.append(found | {"others": {"share": max(0.0, others_s / cores_s)}})
        return measured, recall


def _recall_of(data: HomeDepotVectors, index: hnswlib.Index) -> float:
    """Return hnswlib's recall of vectors."""
    found = 1 - index.knn_query(data.query_vectors, k=K)[1]
    return _recall(data, found, data.vectors)


async def _recall_measure_service(data: HomeDepotVectors, stub: Any) -> float:
    """Return the service's recall of items, of which some share a vector."""
    found: list[Sequence[float]] = []
    for start in range(0, len(data.query_vectors), BATCH):
        vectors = data.query_vectors[start : start + BATCH]
        message = retrieval_pb2.BatchRetrieveRequest(requests=[_request(vector, columns=True) for vector in vectors])
        found += [each.columns.sources[0].scores for each in (await stub.BatchRetrieve(message, timeout=30)).responses]
    return _recall(data, np.array(found, np.float32), data.vectors[np.load(data.release.file(layout.VECTOR_OF_ITEM))])


def _recall(data: HomeDepotVectors, found: Float32Array, vectors: Float32Array) -> float:
    """Return the share of found vectors that are at least as near as the last of the nearest.

    Args:
        data: The queries.
        found: Inner products of the found vectors; shape [queries, K].
        vectors: All vectors that are searched; shape [vectors, dimension].
    """
    return float(np.mean(found >= last_scores(vectors, data.query_vectors, K)[:, np.newaxis] - TIE))


def _busy_s() -> float:
    """Return the processor time of all processes of this machine, in seconds."""
    user, nice, system, _, _, interrupts, soft = map(int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def _measure_hnswlib(index: hnswlib.Index, vectors: Any) -> dict[str, float]:
    """Search hnswlib at its fastest: in batches, on every core."""
    cores = len(os.sched_getaffinity(0))
    began, cpu_began, queries = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < _ROUND_S:
        queries += len(index.knn_query(next(vectors), k=K, num_threads=cores)[0])
    return _figures(queries, time.perf_counter() - began, time.process_time() - cpu_began)


async def _measure_service(
    call: Callable[[Float32Array], Awaitable[int]], vectors: Any, callers: int, server: LocalServer
) -> dict[str, float]:
    """Call from several callers at a time for a second."""
    began, cpu_began = time.perf_counter(), time.process_time() + server.cpu_s()
    queries = 0

    async def caller() -> None:
        nonlocal queries
        while time.perf_counter() - began < _ROUND_S:
            answered = await call(next(vectors))
            queries += answered  # not in one line: other callers count while this one waits

    await asyncio.gather(*(caller() for _ in range(callers)))
    took_s = time.perf_counter() - began
    return _figures(queries, took_s, time.process_time() + server.cpu_s() - cpu_began)


def _figures(queries: int, took_s: float, cpu_s: float) -> dict[str, float]:
    return {"per_s": queries / took_s, "cpu_ms": cpu_s / queries * 1e3}


def _single(stub: Any, *, columns: bool) -> Callable[[Float32Array], Awaitable[int]]:
    async def call(vectors: Float32Array) -> int:
        for vector in vectors:
            response = await stub.Retrieve(_request(vector, columns), timeout=30)
            _check([response])
        return len(vectors)

    return call


def _batch(stub: Any, *, columns: bool) -> Callable[[Float32Array], Awaitable[int]]:
    async def call(vectors: Float32Array) -> int:
        message = retrieval_pb2.BatchRetrieveRequest(requests=[_request(vector, columns) for vector in vectors])
        _check((await stub.BatchRetrieve(message, timeout=30)).responses)
        return len(vectors)

    return call


def _request(vector: Float32Array, columns: bool) -> retrieval_pb2.RetrieveRequest:
    return retrieval_pb2.RetrieveRequest(vector_f32=vector.tobytes(), limit=K, columns=columns)


def _check(responses: Sequence[retrieval_pb2.RetrieveResponse]) -> None:
    if any(len(response.candidates) + len(response.columns.item_ids) != K for response in responses):
        raise RuntimeError("an answer has fewer candidates than requested")


def _summary(rounds: Sequence[Mapping[str, Mapping[str, float]]], name: str) -> dict[str, float]:
    return {
        "queries_per_s": float(np.median([found[name]["per_s"] for found in rounds])),
        "cpu_ms_per_query": float(np.median([found[name]["cpu_ms"] for found in rounds])),
        "share": float(np.median([found[name]["per_s"] / found["hnswlib"]["per_s"] for found in rounds])),
        "share_by_cpu_time": float(np.median([found["hnswlib"]["cpu_ms"] / found[name]["cpu_ms"] for found in rounds])),
    }


def _fair_share(figures: Mapping[str, float], others: float) -> float:
    """Return the share of queries per second, or that of processor time if lower and other work was running."""
    return figures["share"] if others < _MAX_OTHER_SHARE else min(figures["share"], figures["share_by_cpu_time"])


def _table(figures: Mapping[str, Mapping[str, float]], others: float, recall: Mapping[str, float]) -> Table:
    found = f"recall {recall[_BATCHED]:.4f}, hnswlib's {recall['hnswlib']:.4f}"
    title = f"{K} nearest of 53,474; {found}; other processes took {others:.0%} of the processors"
    table = Table("call", "queries/s", "CPU ms per query", "share", "share by CPU time", title=title)
    for name in _NAMES:
        of = figures[name]
        table.add_row(
            name,
            f"{of['queries_per_s']:.0f}",
            f"{of['cpu_ms_per_query']:.3f}",
            f"{of['share']:.1%}",
            f"{of['share_by_cpu_time']:.1%}",
        )
    return table

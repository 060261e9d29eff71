"""How fast are the demo's answers, client included, and how good? `Recommend` by history and by query.

Client, gateway, retrieval and ranking share the machine's cores. One caller waits for each answer before it asks again;
eight callers do so at the same time. Histories and searches take turns, so that both see the same other work.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.harness.record import Result, at_least, at_most
from common.server import event_loop
from common.server.channel import open_channel
from pipeline.data.dataset.training_requests import title_query
from pipeline.demo import Built, build_release, measure, quality_table, serve
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings

_STORE: Final = Path("releases/complete-journey")
_HISTORY: Final = "history"
_QUERY: Final = "query"
_CALLERS: Final = (1, 8)
_ROUNDS: Final = 12
_QUICK_ROUNDS: Final = 3
_ROUND_S: Final = 2.0
_QUERIES: Final = 2_000
_TIMEOUT_S: Final = 10.0
_NDCG: Final = "ndcg@10"
_TWO_STAGES: Final = "two stages"


def run(quick: bool, console: Console) -> Result:
    """Build or reuse the demo's release, serve it and call it; quick takes fewer turns and measures no quality."""
    report = ProgressReport(console)
    built = build_release(_STORE, BuildSettings(), report)
    asked = {_HISTORY: _by_history(built), _QUERY: _by_query(built)}
    with serve(built, report) as services:
        target = services.targets["gateway"]
        with report.step("Calling the gateway"):
            turns, load = event_loop.run(_measure(target, asked, _QUICK_ROUNDS if quick else _ROUNDS))
        quality = None if quick else measure(target, built, report)
    figures: dict[str, Any] = {kind: _summary(turns, kind) for kind in asked}
    thresholds = [
        at_most("Recommend by history, one caller, median ms", 9.0, figures[_HISTORY]["p50_ms at 1"]),
        at_least("Recommend by history, eight callers, answers/s", 220.0, figures[_HISTORY]["per_s at 8"]),
        at_most("Recommend by query, one caller, median ms", 15.0, figures[_QUERY]["p50_ms at 1"]),
        at_least("Recommend by query, eight callers, answers/s", 200.0, figures[_QUERY]["per_s at 8"]),
    ]
    tables = [_table(figures, load)]
    if quality is not None:
        ndcg = quality.modes[_TWO_STAGES].measures[_NDCG]
        figures["ndcg@10 of two stages on histories"] = {"mean": ndcg.mean, "low": ndcg.low, "high": ndcg.high}
        thresholds.append(at_least("NDCG@10 of two stages on histories", 0.302, ndcg.mean))
        tables.append(quality_table(quality))
    settings = {"turns": len(turns), "turn_s": _ROUND_S, "median load average": load, "release": built.release.id}
    return Result(figures | settings, thresholds, tables)


def _by_history(built: Built) -> list[gateway_pb2.RecommendRequest]:
    return [gateway_pb2.RecommendRequest(history_item_ids=one.history) for one in built.questions.main]


def _by_query(built: Built) -> list[gateway_pb2.RecommendRequest]:
    """Return searches of one to three words of titles; nearly all differ, so that hardly one is cached."""
    titles = built.catalogue.table["title"].to_pylist()
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(titles))[:_QUERIES]
    queries = [title_query(titles[row], generator) for row in chosen.tolist()]
    return [gateway_pb2.RecommendRequest(query=query) for query in queries if query]


async def _measure(
    target: str, asked: dict[str, list[gateway_pb2.RecommendRequest]], rounds: int
) -> tuple[list[dict[str, dict[str, float]]], float]:
    """Return the figures of each turn, and the median load average."""
    async with open_channel(target) as channel:
        stub = gateway_pb2_grpc.RecommendationServiceStub(channel)
        requests = {kind: cycle(messages) for kind, messages in asked.items()}
        for kind in asked:  # warm up
            await _turn(stub, requests[kind], _CALLERS[-1])
        turns, loads = [], []
        for _ in range(rounds):
            found: dict[str, dict[str, float]] = {}
            for callers in _CALLERS:
                for kind in asked:
                    found[f"{kind} at {callers}"] = await _turn(stub, requests[kind], callers)
            turns.append(found)
            loads.append(os.getloadavg()[0])
        return turns, float(np.median(loads))


async def _turn(stub: Any, requests: Any, callers: int) -> dict[str, float]:
    began, took_ms = time.perf_counter(), []

    async def caller() -> None:
        while time.perf_counter() - began < _ROUND_S:
            asked = time.perf_counter()
            answer = await stub.Recommend(next(requests), timeout=_TIMEOUT_S)
            took_ms.append((time.perf_counter() - asked) * 1e3)
            if answer.degradations or not answer.items:
                raise RuntimeError(f"an answer is degraded or empty: {answer.degradations}")

    await asyncio.gather(*(caller() for _ in range(callers)))
    return {"p50_ms": float(np.median(took_ms)), "per_s": len(took_ms) / (time.perf_counter() - began)}


def _summary(turns: Sequence[dict[str, dict[str, float]]], kind: str) -> dict[str, float]:
    return {
        f"{figure} at {callers}": float(np.median([turn[f"{kind} at {callers}"][figure] for turn in turns]))
        for callers in _CALLERS
        for figure in ("p50_ms", "per_s")
    }


def _table(figures: dict[str, dict[str, float]], load: float) -> Table:
    table = Table(
        "request", "callers", "median ms", "answers/s", title=f"Recommend, client included; load average {load:.1f}"
    )
    for kind in (_HISTORY, _QUERY):
        for callers in _CALLERS:
            of = figures[kind]
            table.add_row(kind, str(callers), f"{of[f'p50_ms at {callers}']:.1f}", f"{of[f'per_s at {callers}']:.0f}")
    return table

"""How do throughput, latency and memory of ranking grow with candidates, tokens and callers?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.ranking.v1 import ranking_pb2

from benchmarks.data.home_depot import HomeDepot, sample_queries
from benchmarks.data.home_depot_model import CACHE, trained_model
from benchmarks.data.home_depot_release import judged_release
from benchmarks.harness.growth_chart import Panel, growth_chart
from benchmarks.harness.ranking_load import closed_loop, rank_request
from benchmarks.harness.record import Result, at_least, at_most
from benchmarks.harness.servers import ranking_service
from common.server import event_loop
from testing.local_server import LocalServer

_CANDIDATES: Final = (10, 20, 50, 100, 200, 500, 1_000, 2_000)
_TOKENS: Final = (16, 32, 64, 128, 256)
_CALLERS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_QUICK: Final = {"candidates": (10, 200), "tokens": (16, 128), "callers": (1, 32)}
_ITEM_TOKENS: Final = 256
# [CLS], two [SEP], and the one token of the query.
_OTHER_TOKENS: Final = 4
_MAX_MEMORY_GROWTH: Final = 0.1
_MIN_THROUGHPUT_SHARE: Final = 0.8


def run(quick: bool, console: Console) -> Result:
    """Measure one axis after the other in int8; quick takes two points of each."""
    data = HomeDepot.find()
    release = judged_release(data, trained_model(data, console), "int8", _ITEM_TOKENS)
    few = _by_candidates(data, 20)
    seconds = 1.5 if quick else 6.0
    axes = _QUICK if quick else {"candidates": _CANDIDATES, "tokens": _TOKENS, "callers": _CALLERS}
    with ranking_service(release.path, CACHE / "ranking-growth.log") as served:
        event_loop.run(closed_loop(served.target, _by_candidates(data, 100), 8, seconds))
        before = served.memory_bytes() / 1e6
        figures: dict[str, Any] = {
            "candidates": {
                str(count): _point(served, _by_candidates(data, count), 4, seconds) for count in axes["candidates"]
            },
            "tokens": {str(count): _point(served, _by_tokens(count), 4, seconds) for count in axes["tokens"]},
            "callers": {str(count): _point(served, few, count, seconds) for count in axes["callers"]},
        }
        event_loop.run(closed_loop(served.target, _by_candidates(data, 100), 8, seconds))
        figures["memory MB"] = {"warm": before, "at the end": served.memory_bytes() / 1e6}
    growth = figures["memory MB"]["at the end"] / before - 1
    by_callers = [point["pairs/s"] for point in figures["callers"].values()]
    thresholds = [
        at_most("growth of memory after the warm-up, share", _MAX_MEMORY_GROWTH, growth),
        at_least(
            f"pairs/s with {axes['callers'][-1]} callers over the best",
            _MIN_THROUGHPUT_SHARE,
            by_callers[-1] / max(by_callers),
        ),
    ]
    tables = [_table(name, figures[name]) for name in axes]
    return Result(figures, thresholds, tables, _chart({name: figures[name] for name in axes}))


def _point(
    served: LocalServer, requests: Sequence[ranking_pb2.RankRequest], callers: int, seconds: float
) -> dict[str, float]:
    answers = event_loop.run(closed_loop(served.target, requests, callers, seconds))
    return {
        "pairs/s": answers.pairs_per_s,
        "tokens/s": answers.tokens / answers.seconds,
        "p50 ms": answers.latency_ms(0.5),
        "p99 ms": answers.latency_ms(0.99),
        "memory MB": served.memory_bytes() / 1e6,
    }


def _by_candidates(data: HomeDepot, count: int) -> list[ranking_pb2.RankRequest]:
    return [rank_request(one.query, one.item_ids) for one in sample_queries(data, 16, count)]


def _by_tokens(count: int) -> list[ranking_pb2.RankRequest]:
    """Return a request whose pairs have ``count`` tokens each: items are given as texts of one-token words."""
    words = ("red", "door", "light", "wood", "steel", "paint", "wall", "garden", "water", "glass")
    generator = np.random.default_rng(count)
    texts = [" ".join(generator.choice(words, count - _OTHER_TOKENS)) for _ in range(100)]
    candidates = [ranking_pb2.RankCandidate(text=text) for text in texts]
    user = ranking_pb2.UserContext(query="lamp")
    return [ranking_pb2.RankRequest(user=user, candidates=candidates, cross_encoder_depth=len(candidates))]


def _table(axis: str, points: dict[str, dict[str, float]]) -> Table:
    table = Table(axis, "pairs/s", "tokens/s", "p50 ms", "p99 ms", "memory MB")
    for value, point in points.items():
        table.add_row(value, *(f"{number:,.0f}" for number in point.values()))
    return table


def _chart(axes: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return pairs/s along each axis, all on one scale."""
    rates = {name: {float(value): point["pairs/s"] for value, point in points.items()} for name, points in axes.items()}
    highest = max(rate for values in rates.values() for rate in values.values())
    panels = [
        Panel(f"pairs/s by {name}", name, values, highest, math.log2, list(values)[::2])
        for name, values in rates.items()
    ]
    return growth_chart(panels, "Pairs per second as work grows", columns=len(panels))

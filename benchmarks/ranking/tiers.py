"""What do two tiers gain? Late interaction alone and before the cross-encoder: speed, quality, storage.

Speed is measured over gRPC, with callers on the same cores, in turns with Infinity, which scores the same texts with
the same cross-encoder. Nothing is cached: the tower encodes the query of every call. Quality is that of the orders of
Home Depot's test part. That of a random order is reported too, since most judged items are relevant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.ranking.v1 import ranking_pb2

from benchmarks.data.home_depot import HomeDepot, sample_queries
from benchmarks.data.home_depot_model import CACHE, TrainedModel, trained_model
from benchmarks.data.home_depot_release import judged_release
from benchmarks.data.home_depot_tower import TrainedTower, add_late_interaction, encoding_s, trained_tower
from benchmarks.harness.ranking_load import LoadResult, closed_loop, rank_request
from benchmarks.harness.record import Result, Threshold, at_least, at_most
from benchmarks.harness.servers import ranking_service
from benchmarks.peers.infinity import Infinity, body, infinity
from benchmarks.ranking.tier_quality import Quality, compared_tiers
from common.release import layout
from common.release.store import Release
from common.server import event_loop
from testing.local_server import LocalServer

CANDIDATES: Final = 500
_DEPTH: Final = 20
_CALLERS: Final = 4
_MIN_SPEED_UP: Final = 150.0
_MAX_P50_MS: Final = 30.0
# Nothing is cached between calls.
_SETTINGS: Final = {"context-cache-size": 0, "text-cache-size": 0}


def run(quick: bool, console: Console) -> Result:
    """Measure speed in turns, then quality; quick takes two turns and fewer queries."""
    data = HomeDepot.find()
    model = trained_model(data, console)
    tower = trained_tower(data, console)
    release = judged_release(data, model, "int8", add=add_late_interaction(model, tower, 8, console))
    figures: dict[str, Any] = {"speed": _speed(data, model, release, console, quick=quick)}
    quality = compared_tiers(data, model, tower, console, quick=quick)
    figures["quality"] = {name: one.as_json() for name, one in quality.items()}
    figures["storage"] = _storage(data, tower, release)
    return Result(figures, _thresholds(figures["speed"], quality), _tables(figures))


def _speed(data: HomeDepot, model: TrainedModel, release: Release, console: Console, *, quick: bool) -> dict[str, Any]:
    rounds, seconds = (2, 2.0) if quick else (5, 8.0)
    queries = sample_queries(data, 64 if quick else 512, CANDIDATES)
    bodies = [body(one.query, [data.titles[item_id] for item_id in one.item_ids]) for one in queries]
    late = [rank_request(one.query, one.item_ids, 0) for one in queries]
    both = [rank_request(one.query, one.item_ids, _DEPTH) for one in queries]
    with ExitStack() as stack:
        peer = stack.enter_context(infinity(model.torch, CACHE / "infinity.log", console))
        served = stack.enter_context(ranking_service(release.path, CACHE / "ranking-tiers.log", _SETTINGS))
        event_loop.run(closed_loop(served.target, both, _CALLERS, 1.0))
        turns = [_turn(served, late, both, peer, bodies, seconds) for _ in range(rounds)]
    return _summary(turns)


def _turn(
    served: LocalServer,
    late: Sequence[ranking_pb2.RankRequest],
    both: Sequence[ranking_pb2.RankRequest],
    peer: Infinity,
    bodies: Sequence[bytes],
    seconds: float,
) -> dict[str, LoadResult]:
    """Load each server for ``seconds``; one caller of 500 texts keeps the peer busy."""
    return {
        "late interaction": event_loop.run(closed_loop(served.target, late, _CALLERS, seconds)),
        "late interaction, one caller": event_loop.run(closed_loop(served.target, late, 1, seconds / 2)),
        f"and cross-encoder on {_DEPTH}, one caller": event_loop.run(closed_loop(served.target, both, 1, seconds / 2)),
        "Infinity": peer.load(bodies, CANDIDATES, 1, seconds),
    }


def _summary(turns: Sequence[Mapping[str, LoadResult]]) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for name in turns[0]:
        rates = [len(turn[name].latencies_ms) * CANDIDATES / turn[name].seconds for turn in turns]
        times = [rate / turn["Infinity"].pairs_per_s for rate, turn in zip(rates, turns, strict=True)]
        summary[name] = {
            "candidates/s": float(np.median(rates)),
            "p50 ms": float(np.median([turn[name].latency_ms(0.5) for turn in turns])),
            "p99 ms": float(np.median([turn[name].latency_ms(0.99) for turn in turns])),
            "times Infinity": float(np.median(times)),
        }
    return summary


def _storage(data: HomeDepot, tower: TrainedTower, release: Release) -> dict[str, Any]:
    """Return bytes per item by bits, and the seconds to encode 100,000 items; quantisation takes next to none."""
    items = data.items.height
    lengths = np.load(release.file(layout.LATE_LENGTHS))
    vectors, texts = int(lengths.sum(dtype=np.int64)), len(lengths)
    width = np.load(release.file(layout.LATE_STEPS)).shape[1]
    other_bytes = texts * (width + 4) + 4 * items
    return {
        "token vectors an item": vectors / items,
        "distinct texts": texts,
        "bytes an item": {str(bits): (vectors * width * bits / 8 + other_bytes) / items for bits in (32, 8, 4)},
        "encoding 100,000 items, s": encoding_s(tower, 8) / texts * 1e5,
    }


def _thresholds(speed: Mapping[str, Any], quality: Mapping[str, Quality]) -> list[Threshold]:
    late, both = quality["late interaction, 8 bits"], quality["both, mean"]
    return [
        at_least(
            f"candidates/s at {CANDIDATES}, cross-encoder off, over Infinity's",
            _MIN_SPEED_UP,
            speed["late interaction"]["times Infinity"],
        ),
        at_most(
            f"p50 ms at {CANDIDATES}, cross-encoder on the best {_DEPTH}",
            _MAX_P50_MS,
            speed[f"and cross-encoder on {_DEPTH}, one caller"]["p50 ms"],
        ),
        *(
            at_least(f"{name}: {measure} less the cross-encoder's, upper end of the 95 % interval", 0.0, interval.high)
            for name, one in (("late interaction", late), ("both", both))
            for measure, interval in one.differences.items()
        ),
    ]


def _tables(figures: Mapping[str, Any]) -> list[Table]:
    speed = Table(
        "server", "candidates/s", "p50 ms", "p99 ms", "times Infinity", title=f"{CANDIDATES} candidates per call"
    )
    for name, one in figures["speed"].items():
        speed.add_row(name, f"{one['candidates/s']:,.0f}", *(f"{one[key]:,.1f}" for key in list(one)[1:]))
    quality = Table("order", "NDCG@10", "over random", "Spearman", "pairs in order", title="Home Depot, test part")
    for name, one in figures["quality"].items():
        measured = ("ndcg@10", "ndcg@10 over random", "spearman", "pair accuracy")
        quality.add_row(name, *(f"{one[key]:.4f}" for key in measured))
    storage = Table("bits", "bytes per item", title="Storage of late interaction")
    for bits, size in figures["storage"]["bytes an item"].items():
        storage.add_row(bits, f"{size:,.0f}")
    return [speed, quality, storage]

"""Which server of a cross-encoder is fastest? The ranking service, Infinity and sentence-transformers, in turns.

All have the same weights and texts: 100 titles per query, none of them truncated. Infinity runs its server with torch
on the CPU and its defaults. `CrossEncoder.predict` runs in a loop without a server. The service is measured in int8, as
recommended on a CPU, and in float32. Peers have virtual environments of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc

from benchmarks.data.home_depot import CANDIDATES, HomeDepot, RankingQuery, sample_queries
from benchmarks.data.home_depot_model import CACHE, trained_model
from benchmarks.data.home_depot_release import judged_release
from benchmarks.harness.ranking_load import LoadResult, closed_loop, rank_request
from benchmarks.harness.record import Result, Threshold, at_least, at_most
from benchmarks.harness.servers import ranking_service
from benchmarks.peers.infinity import Infinity, body, infinity
from benchmarks.peers.sentence_transformers import PredictLoop, predict_loop
from common.server import event_loop
from common.server.channel import open_channel
from pipeline.release.config.build_settings import Precision
from testing.local_server import LocalServer

_PRECISIONS: Final[Sequence[Precision]] = ("int8", "fp32")
_MIN_SPEED_UP: Final = 5.0
_MIN_CORRELATION: Final = 0.99
_TIMEOUT_S: Final = 60.0


def run(quick: bool, console: Console) -> Result:
    """Load the servers in turns; quick takes one load and two turns."""
    data = HomeDepot.find()
    model = trained_model(data, console)
    queries = sample_queries(data, 32, CANDIDATES)
    texts = [[data.titles[item_id] for item_id in one.item_ids] for one in queries]
    loads, rounds, seconds = ((4,), 2, 3.0) if quick else ((1, 4, 8), 5, 8.0)
    with ExitStack() as stack:
        peer = stack.enter_context(infinity(model.torch, CACHE / "infinity.log", console))
        calls = [(one.query, items) for one, items in zip(queries, texts, strict=True)]
        loop = stack.enter_context(predict_loop(model.torch, calls, CACHE, console))
        served = {
            precision: stack.enter_context(
                ranking_service(judged_release(data, model, precision).path, CACHE / f"ranking-{precision}.log")
            )
            for precision in _PRECISIONS
        }
        bodies = [body(query, items) for query, items in calls]
        agreement = _agreement(served["fp32"], queries[0], peer.scores(bodies[0]))
        requests = [rank_request(one.query, one.item_ids) for one in queries]
        figures: dict[str, Any] = {
            str(callers): _summary([_turn(served, requests, peer, bodies, callers, seconds) for _ in range(rounds)])
            for callers in loads
        }
        figures["sentence-transformers"] = _against_loop(served["int8"], requests, loop, rounds, seconds)
    figures["rank correlation with Infinity"] = agreement
    return Result(figures, _thresholds(figures), [_table(figures)])


def _turn(
    served: dict[Precision, LocalServer],
    requests: Sequence[ranking_pb2.RankRequest],
    peer: Infinity,
    bodies: Sequence[bytes],
    callers: int,
    seconds: float,
) -> dict[str, LoadResult]:
    """Load each server for ``seconds``."""
    answers: dict[str, LoadResult] = {
        precision: event_loop.run(closed_loop(one.target, requests, callers, seconds))
        for precision, one in served.items()
    }
    return {**answers, "infinity": peer.load(bodies, CANDIDATES, callers, seconds)}


def _summary(turns: Sequence[dict[str, LoadResult]]) -> dict[str, Any]:
    summary: dict[str, Any] = {
        name: {
            "pairs/s": float(np.median([turn[name].pairs_per_s for turn in turns])),
            "p50 ms": float(np.median([turn[name].latency_ms(0.5) for turn in turns])),
            "p99 ms": float(np.median([turn[name].latency_ms(0.99) for turn in turns])),
        }
        for name in turns[0]
    }
    for precision in _PRECISIONS:
        ratios = [turn[precision].pairs_per_s / turn["infinity"].pairs_per_s for turn in turns]
        summary[precision]["times infinity"] = float(np.median(ratios))
    return summary


def _against_loop(
    served: LocalServer, requests: Sequence[ranking_pb2.RankRequest], loop: PredictLoop, rounds: int, seconds: float
) -> dict[str, float]:
    turns = []
    for _ in range(rounds):
        predicted = loop.run(seconds).pairs_per_s
        turns.append((predicted, event_loop.run(closed_loop(served.target, requests, 8, seconds)).pairs_per_s))
    times = float(np.median([ours / theirs for theirs, ours in turns]))
    return {"pairs/s": float(np.median([theirs for theirs, _ in turns])), "int8 served, times it": times}


def _agreement(served: LocalServer, query: RankingQuery, scores: Sequence[float]) -> float:
    """Return the rank correlation of our float32 logits and Infinity's scores: near 1 for the same weights."""

    async def logits() -> list[float]:
        async with open_channel(served.target) as channel:
            stub: Any = ranking_pb2_grpc.RankingServiceStub(channel)
            answer = await stub.Rank(rank_request(query.query, query.item_ids), timeout=_TIMEOUT_S)
            return [item.cross_encoder_logit for item in answer.items]

    return float(spearmanr(event_loop.run(logits()), scores).statistic)


def _loads(figures: dict[str, Any]) -> dict[str, Any]:
    return {callers: found for callers, found in figures.items() if callers.isdecimal()}


def _thresholds(figures: dict[str, Any]) -> list[Threshold]:
    thresholds = [
        at_least(
            "rank correlation of our fp32 with Infinity's", _MIN_CORRELATION, figures["rank correlation with Infinity"]
        )
    ]
    for callers, found in _loads(figures).items():
        thresholds.append(
            at_least(
                f"int8, {callers} callers: pairs/s over Infinity's", _MIN_SPEED_UP, found["int8"]["times infinity"]
            )
        )
        thresholds.append(
            at_most(
                f"int8, {callers} callers: p99 over Infinity's",
                1.0,
                found["int8"]["p99 ms"] / found["infinity"]["p99 ms"],
            )
        )
    return thresholds


def _table(figures: dict[str, Any]) -> Table:
    table = Table("callers", "server", "pairs/s", "p50 ms", "p99 ms", "times Infinity")
    for callers, found in _loads(figures).items():
        for name, one in found.items():
            latency = (f"{one['p50 ms']:,.0f}", f"{one['p99 ms']:,.0f}")
            table.add_row(callers, name, f"{one['pairs/s']:,.0f}", *latency, f"{one.get('times infinity', 1.0):.2f}")
    loop = figures["sentence-transformers"]
    table.add_row("", "sentence-transformers", f"{loop['pairs/s']:,.0f}", "", "", "")
    return table

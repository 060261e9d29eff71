"""Who serves a cross-encoder fastest? The ranking service, Infinity and sentence-transformers, in turns.

Everybody has the same weights and texts: 100 titles a query, cut nowhere (they are shorter than any limit). Infinity
runs its server with torch on the CPU and its defaults; `CrossEncoder.predict` runs in a loop without a server. The
service is measured as it is recommended on a CPU, in int8, and in float32 too. Peers live in their own environments.
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

from benchmarks.data.home_depot import CANDIDATES, Asked, HomeDepot, draw_asked
from benchmarks.data.home_depot_model import CACHE, trained_model
from benchmarks.data.home_depot_release import judged_release
from benchmarks.harness.ranking_load import Answers, closed_loop, request
from benchmarks.harness.record import Result, Threshold, at_least, at_most
from benchmarks.harness.servers import ranking_service
from benchmarks.peers.infinity import Infinity, body, infinity
from benchmarks.peers.sentence_transformers import PredictLoop, predict_loop
from common.server import event_loop
from common.server.channel import open_channel
from pipeline.release.config.build_settings import Precision
from testing.local_server import LocalServer

_PRECISIONS: Final[Sequence[Precision]] = ("int8", "fp32")
_TARGET: Final = 5.0
_SAME_ORDER: Final = 0.99
_PATIENCE_S: Final = 60.0


def run(quick: bool, console: Console) -> Result:
    """Load the servers one after the other, over and over; quick takes one load and two turns."""
    data = HomeDepot.find()
    model = trained_model(data, console)
    asked = draw_asked(data, 32, CANDIDATES)
    texts = [[data.titles[item_id] for item_id in one.item_ids] for one in asked]
    loads, rounds, seconds = ((4,), 2, 3.0) if quick else ((1, 4, 8), 5, 8.0)
    with ExitStack() as stack:
        peer = stack.enter_context(infinity(model.torch, CACHE / "infinity.log", console))
        calls = [(one.query, items) for one, items in zip(asked, texts, strict=True)]
        loop = stack.enter_context(predict_loop(model.torch, calls, CACHE, console))
        served = {
            precision: stack.enter_context(
                ranking_service(judged_release(data, model, precision).path, CACHE / f"ranking-{precision}.log")
            )
            for precision in _PRECISIONS
        }
        bodies = [body(query, items) for query, items in calls]
        agreement = _agreement(served["fp32"], asked[0], peer.scores(bodies[0]))
        requests = [request(one.query, one.item_ids) for one in asked]
        figures: dict[str, Any] = {
            str(callers): _summary([_turn(served, requests, peer, bodies, callers, seconds) for _ in range(rounds)])
            for callers in loads
        }
        figures["sentence-transformers"] = _against_loop(served["int8"], requests, loop, rounds, seconds)
    figures["rank correlation with Infinity"] = agreement
    return Result(figures, _bars(figures), [_table(figures)])


def _turn(
    served: dict[Precision, LocalServer],
    requests: Sequence[ranking_pb2.RankRequest],
    peer: Infinity,
    bodies: Sequence[bytes],
    callers: int,
    seconds: float,
) -> dict[str, Answers]:
    """Load each server for a while."""
    answers: dict[str, Answers] = {
        precision: event_loop.run(closed_loop(one.target, requests, callers, seconds))
        for precision, one in served.items()
    }
    return {**answers, "infinity": peer.load(bodies, CANDIDATES, callers, seconds)}


def _summary(turns: Sequence[dict[str, Answers]]) -> dict[str, Any]:
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


def _agreement(served: LocalServer, asked: Asked, scores: Sequence[float]) -> float:
    """Return the rank correlation of our float32 logits and Infinity's scores: near 1 if they read the same."""

    async def logits() -> list[float]:
        async with open_channel(served.target) as channel:
            stub: Any = ranking_pb2_grpc.RankingServiceStub(channel)
            answer = await stub.Rank(request(asked.query, asked.item_ids), timeout=_PATIENCE_S)
            return [item.cross_encoder_logit for item in answer.items]

    return float(spearmanr(event_loop.run(logits()), scores).statistic)


def _loads(figures: dict[str, Any]) -> dict[str, Any]:
    return {callers: found for callers, found in figures.items() if callers.isdecimal()}


def _bars(figures: dict[str, Any]) -> list[Threshold]:
    bars = [
        at_least("rank correlation of our fp32 with Infinity's", _SAME_ORDER, figures["rank correlation with Infinity"])
    ]
    for callers, found in _loads(figures).items():
        bars.append(
            at_least(f"int8, {callers} callers: pairs/s over Infinity's", _TARGET, found["int8"]["times infinity"])
        )
        bars.append(
            at_most(
                f"int8, {callers} callers: p99 over Infinity's",
                1.0,
                found["int8"]["p99 ms"] / found["infinity"]["p99 ms"],
            )
        )
    return bars


def _table(figures: dict[str, Any]) -> Table:
    table = Table("callers", "who", "pairs/s", "p50 ms", "p99 ms", "times Infinity")
    for callers, found in _loads(figures).items():
        for name, one in found.items():
            latency = (f"{one['p50 ms']:,.0f}", f"{one['p99 ms']:,.0f}")
            table.add_row(callers, name, f"{one['pairs/s']:,.0f}", *latency, f"{one.get('times infinity', 1.0):.2f}")
    loop = figures["sentence-transformers"]
    table.add_row("", "sentence-transformers", f"{loop['pairs/s']:,.0f}", "", "", "")
    return table

"""What does serving cost? Pairs per second over gRPC compared with ONNX Runtime in a bare loop, in turns.

Model, precision and pairs are the same. The loop has the pairs tokenised, padded and sorted by length over all
requests, in its best batch size and on its best number of threads. The service receives queries and item ids from
callers on the same cores, and returns calibrated probabilities. No score comes from the cache.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.data.home_depot import CANDIDATES, HomeDepot, PairMaker, sample_queries
from benchmarks.data.home_depot_model import CACHE, trained_model
from benchmarks.data.home_depot_release import judged_release, model_file
from benchmarks.harness.bare_onnx import BareLoop, LoopRun
from benchmarks.harness.ranking_load import LoadResult, closed_loop, rank_request
from benchmarks.harness.record import Result, Threshold, at_least
from benchmarks.harness.servers import ranking_service
from common.server import event_loop
from pipeline.release.config.build_settings import Precision
from testing.local_server import LocalServer

_REQUESTS: Final = 64
_MIN_RATIO: Final = 0.95


def run(quick: bool, console: Console) -> Result:
    """Load the service with 8 to 64 callers, in turns with the bare loop; quick takes one load and precision."""
    data = HomeDepot.find()
    model = trained_model(data, console)
    queries = sample_queries(data, _REQUESTS, CANDIDATES)
    maker = PairMaker(data, model.tokenizer)
    all_pairs = [maker.pairs(one.query, one.item_ids) for one in queries]
    precisions: tuple[Precision, ...] = ("int8",) if quick else ("int8", "fp32")
    loads, rounds, seconds = ((16,), 3, 4.0) if quick else ((8, 16, 32, 64), 4, 5.0)
    figures: dict[str, Any] = {}
    for precision in precisions:
        release = judged_release(data, model, precision)
        bare = BareLoop(model_file(data, model, precision), all_pairs)
        bare.choose()
        requests = [rank_request(one.query, one.item_ids) for one in queries]
        with ranking_service(release.path, CACHE / "ranking-served.log") as served:
            event_loop.run(closed_loop(served.target, requests, 4, seconds / 2))
            figures[precision] = {
                str(callers): _in_turns(bare, served, requests, callers, rounds, seconds) for callers in loads
            }
        figures[precision]["bare way"] = vars(bare.options)
    return Result(figures, _thresholds(figures), [_table(figures)])


def _in_turns(
    bare: BareLoop, served: LocalServer, requests: Sequence[Any], callers: int, rounds: int, seconds: float
) -> dict[str, Any]:
    """Measure both in turns, so that other work affects both; ratios are of neighbouring turns."""
    turns = [_turn(bare, served, requests, callers, seconds) for _ in range(rounds)]
    ratios = [answers.pairs_per_s / loop.pairs_per_s for loop, answers, _ in turns]
    by_processor_time = [answers.pairs / spent / loop.pairs_per_processor_s for loop, answers, spent in turns]
    return {
        "bare pairs/s": float(np.median([loop.pairs_per_s for loop, _, _ in turns])),
        "served pairs/s": float(np.median([answers.pairs_per_s for _, answers, _ in turns])),
        "ratio": float(np.median(ratios)),
        "ratios": ratios,
        "ratio by processor time": float(np.median(by_processor_time)),
        "p50 ms": float(np.median([answers.latency_ms(0.5) for _, answers, _ in turns])),
        "p99 ms": float(np.median([answers.latency_ms(0.99) for _, answers, _ in turns])),
    }


def _turn(
    bare: BareLoop, served: LocalServer, requests: Sequence[Any], callers: int, seconds: float
) -> tuple[LoopRun, LoadResult, float]:
    """Return the run of the loop, the result of the service, and the processor time of service and callers."""
    loop = bare.run(seconds)
    before = time.process_time() + served.cpu_s()
    answers = event_loop.run(closed_loop(served.target, requests, callers, seconds))
    return loop, answers, time.process_time() + served.cpu_s() - before


def _loads(figures: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (precision, callers, found)
        for precision, by_load in figures.items()
        for callers, found in by_load.items()
        if "ratio" in found
    ]


def _thresholds(figures: dict[str, Any]) -> list[Threshold]:
    return [
        at_least(
            f"{precision}, {callers} callers of {CANDIDATES}: served over bare pairs/s", _MIN_RATIO, found["ratio"]
        )
        for precision, callers, found in _loads(figures)
    ]


def _table(figures: dict[str, Any]) -> Table:
    table = Table(
        "precision", "callers", "bare pairs/s", "served pairs/s", "ratio", "by processor time", "p50 ms", "p99 ms"
    )
    for precision, callers, found in _loads(figures):
        by_processor_time = f"{found['ratio by processor time']:.3f}"
        rates = (f"{found['bare pairs/s']:,.0f}", f"{found['served pairs/s']:,.0f}", f"{found['ratio']:.3f}")
        table.add_row(
            precision, callers, *rates, by_processor_time, f"{found['p50 ms']:,.0f}", f"{found['p99 ms']:,.0f}"
        )
    return table

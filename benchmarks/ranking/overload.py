"""What happens at four times the capacity of the ranking service? Goodput, lateness, and the time to a refusal.

Capacity is the throughput of callers in a closed loop. Then four times as many calls arrive at random times, each with
a deadline; an answer after it is worth nothing. There are two kinds of callers, in turns. The first require half of
their candidates to be scored, and are refused if there is no time for that. The second accept any depth, and are then
answered at once without a scored pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from shortlist.ranking.v1 import ranking_pb2

from benchmarks.data.home_depot import CANDIDATES, HomeDepot, sample_queries
from benchmarks.data.home_depot_model import CACHE, trained_model
from benchmarks.data.home_depot_release import judged_release
from benchmarks.harness.ranking_load import LoadResult, closed_loop, open_loop, rank_request
from benchmarks.harness.record import Result, Threshold, at_least, at_most
from benchmarks.harness.servers import ranking_service
from common.server import event_loop

_LOAD_FACTOR: Final = 4.0
_DEADLINE_S: Final = 1.0
_MIN_DEPTH: Final = CANDIDATES // 2
_MIN_GOODPUT_SHARE: Final = 0.9
_MAX_LATENESS_MS: Final = 10.0
_MAX_REFUSAL_MS: Final = 5.0
Requests = Sequence[ranking_pb2.RankRequest]
Turn = tuple[LoadResult, LoadResult]


def run(quick: bool, console: Console) -> Result:
    """Measure peak and overload in turns; quick takes one turn of each kind of caller."""
    data = HomeDepot.find()
    release = judged_release(data, trained_model(data, console), "int8")
    queries = sample_queries(data, 64, CANDIDATES)
    kinds = {
        "requiring half": [rank_request(one.query, one.item_ids, min_depth=_MIN_DEPTH) for one in queries],
        "accepting any": [rank_request(one.query, one.item_ids) for one in queries],
    }
    turns, seconds = (1, 6.0) if quick else (4, 12.0)
    found: dict[str, list[Turn]] = {kind: [] for kind in kinds}
    with ranking_service(release.path, CACHE / "ranking-overload.log") as served:
        event_loop.run(closed_loop(served.target, kinds["accepting any"], 8, seconds / 2))
        for seed in range(turns):
            for kind, requests in kinds.items():
                found[kind].append(_turn(served.target, requests, seconds, seed))
    figures: dict[str, Any] = {kind: _figures(of_kind) for kind, of_kind in found.items()}
    thresholds = [threshold for kind, of_kind in figures.items() for threshold in _thresholds(kind, of_kind)]
    return Result(figures, thresholds, [_table(figures)])


def _turn(target: str, requests: Requests, seconds: float, seed: int) -> Turn:
    peak = event_loop.run(closed_loop(target, requests, 8, seconds))
    per_s = _LOAD_FACTOR * len(peak.latencies_ms) / peak.seconds
    return peak, event_loop.run(open_loop(target, requests, per_s, seconds, _DEADLINE_S, seed))


def _figures(turns: Sequence[Turn]) -> dict[str, Any]:
    over = [over for _, over in turns]
    return {
        "peak pairs/s": float(np.median([peak.pairs_per_s for peak, _ in turns])),
        "goodput pairs/s": float(np.median([one.pairs_per_s for one in over])),
        "goodput over peak": float(np.median([one.pairs_per_s / peak.pairs_per_s for peak, one in turns])),
        "calls read for": sum(len(one.latencies_ms) for one in over),
        "answered unread": sum(len(one.unread_ms) for one in over),
        "refused": sum(len(one.refused_ms) for one in over),
        "unanswered": sum(one.expired for one in over),
        "p99 ms": _quantile([ms for one in over for ms in one.latencies_ms]),
        "latest past its deadline, ms": max((ms for one in over for ms in one.late_ms), default=0.0),
        "refused p50 ms": _quantile([ms for one in over for ms in one.refused_ms], 0.5),
        "refused p99 ms": _quantile([ms for one in over for ms in one.refused_ms]),
        "unread p50 ms": _quantile([ms for one in over for ms in one.unread_ms], 0.5),
        "unread p99 ms": _quantile([ms for one in over for ms in one.unread_ms]),
    }


def _quantile(values: Sequence[float], quantile: float = 0.99) -> float:
    return float(np.quantile(values, quantile)) if values else 0.0


def _thresholds(kind: str, figures: dict[str, Any]) -> list[Threshold]:
    return [
        at_least(f"{kind}: goodput at four times capacity over peak", _MIN_GOODPUT_SHARE, figures["goodput over peak"]),
        at_most(
            f"{kind}: latest answer past its deadline, ms", _MAX_LATENESS_MS, figures["latest past its deadline, ms"]
        ),
        at_most(f"{kind}: calls without an answer at their deadline", 0, figures["unanswered"]),
        *(
            [at_most(f"{kind}: p99 of the time to a refusal, ms", _MAX_REFUSAL_MS, figures["refused p99 ms"])]
            if figures["refused"]
            else []
        ),
    ]


def _table(figures: dict[str, Any]) -> Table:
    table = Table("", *figures, title=f"{_LOAD_FACTOR:g} times capacity, deadline {_DEADLINE_S:g} s")
    for name in next(iter(figures.values())):
        table.add_row(name, *(f"{of_kind[name]:,.2f}" for of_kind in figures.values()))
    return table

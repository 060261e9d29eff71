"""What happens at four times what the ranking service can do? Goodput, lateness, and how soon it says no.

Saturation is what callers in a closed loop get. Then calls come at random times, four times as many, each with a
deadline; what is not answered by it is worth nothing. A call that the cross-encoder reads nothing for, since there
was no time left, is turned away like one that is refused: it must be told so at once.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.home_depot.data import HomeDepot
from benchmarks.home_depot.model import CACHE, trained_model
from benchmarks.home_depot.release import judged_release
from benchmarks.ranking_load import Answers, closed_loop, open_loop, ranking_service, request
from benchmarks.ranking_served import CANDIDATES, draw_asked
from benchmarks.record import Finding, at_least, at_most

_TIMES: Final = 4.0
_DEADLINE_S: Final = 1.0
_LEAST_GOODPUT: Final = 0.9
_MAX_LATE_MS: Final = 10.0
_MAX_REFUSAL_MS: Final = 5.0


def run(quick: bool, console: Console) -> Finding:
    """Measure the peak and the overload in turns; quick takes one turn."""
    data = HomeDepot.find()
    release = judged_release(data, trained_model(data, console), "int8")
    requests = [request(one.query, one.item_ids) for one in draw_asked(data, 64, CANDIDATES)]
    turns, seconds = (1, 8.0) if quick else (5, 12.0)
    with ranking_service(release.path, CACHE / "ranking-overload.log") as served:
        asyncio.run(closed_loop(served.target, requests, 8, seconds / 2))
        found = [_turn(served.target, requests, seconds, seed) for seed in range(turns)]
    goodput = float(np.median([over.pairs_per_s / peak.pairs_per_s for peak, over in found]))
    late_ms = max(max(over.late_ms, default=0.0) for _, over in found)
    refused_ms = np.concatenate([over.refused_ms for _, over in found])
    figures: dict[str, Any] = {
        "turns": [_figures(peak, over) for peak, over in found],
        "goodput over peak": goodput,
        "latest answer past its deadline, ms": late_ms,
        "refusals": _quantiles(refused_ms),
        "expired unanswered, share of calls": _share([over.expired for _, over in found], found),
    }
    bars = [
        at_least("goodput at four times saturation over the peak, pairs/s", _LEAST_GOODPUT, goodput),
        at_most("latest accepted call past its deadline, ms", _MAX_LATE_MS, late_ms),
        at_most("99 % of calls turned away told within, ms", _MAX_REFUSAL_MS, figures["refusals"]["p99 ms"]),
    ]
    return Finding(figures, bars, [_table(figures)])


def _turn(target: str, requests: Any, seconds: float, seed: int) -> tuple[Answers, Answers]:
    peak = asyncio.run(closed_loop(target, requests, 8, seconds))
    per_s = _TIMES * len(peak.latencies_ms) / peak.seconds
    return peak, asyncio.run(open_loop(target, requests, per_s, seconds, _DEADLINE_S, seed))


def _figures(peak: Answers, over: Answers) -> dict[str, float]:
    return {
        "peak pairs/s": peak.pairs_per_s,
        "goodput pairs/s": over.pairs_per_s,
        "answered": len(over.latencies_ms),
        "turned away": len(over.refused_ms),
        "expired": over.expired,
        "p50 ms": over.latency_ms(0.5),
        "p99 ms": over.latency_ms(0.99),
    }


def _quantiles(values: Any) -> dict[str, float]:
    if not len(values):
        return {"p50 ms": 0.0, "p99 ms": 0.0, "max ms": 0.0}
    return dict(zip(("p50 ms", "p99 ms", "max ms"), np.quantile(values, [0.5, 0.99, 1.0]).tolist(), strict=True))


def _share(expired: list[int], found: list[tuple[Answers, Answers]]) -> float:
    calls = sum(len(over.latencies_ms) + len(over.refused_ms) + over.expired for _, over in found)
    return sum(expired) / calls


def _table(figures: dict[str, Any]) -> Table:
    names = list(figures["turns"][0])
    table = Table(*names, title=f"{_TIMES:g} times saturation, deadline {_DEADLINE_S:g} s")
    for turn in figures["turns"]:
        table.add_row(*(f"{turn[name]:,.0f}" for name in names))
    return table

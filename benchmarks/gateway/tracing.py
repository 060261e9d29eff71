"""What does tracing cost `Recommend`?

The three services run twice on a tiny release: without tracing, and with a tenth of the calls traced and sent to a
collector on this machine, whose own work counts against it too. The same callers load one and then the other, in turns,
so that whatever else the machine does meets both. The tiny release makes the rest of a call cheap, and so tracing's
share of it large.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.harness.answer_rates import CALLERS, Target, answer_rates
from benchmarks.harness.record import Result, at_least
from common.server import event_loop
from pipeline.local_services import local_services
from testing.observability.trace_collector import trace_collector
from testing.tiny_shop import build_tiny_release

_SHARE: Final = 0.1
_MIN_SHARE: Final = 0.97


def run(quick: bool, console: Console) -> Result:
    """Load both in turns; quick makes fewer and shorter turns."""
    del console
    with tempfile.TemporaryDirectory(prefix="tracing-") as name, ExitStack() as servers:
        folder = Path(name)
        release = build_tiny_release(folder)
        collector = servers.enter_context(trace_collector())
        traces = {
            "SHORTLIST_LOCAL_TRACE_ENDPOINT": collector.endpoint,
            "SHORTLIST_LOCAL_TRACE_SHARE": str(_SHARE),
        }
        off = servers.enter_context(local_services(release, folder / "off"))
        on = servers.enter_context(local_services(release, folder / "on", traces))
        targets: dict[str, Target] = {"off": (off.targets["gateway"], None), "on": (on.targets["gateway"], None)}
        rates = event_loop.run(answer_rates(targets, turns=3 if quick else 15, turn_s=2.0 if quick else 5.0))
        spans = len(collector.spans())
    return _result(rates, spans)


def _result(rates: dict[str, list[float]], spans: int) -> Result:
    ratios = [on / off for on, off in zip(rates["on"], rates["off"], strict=True)]
    share = statistics.median(ratios)
    figures = {f"answers a second, tracing {name}": statistics.median(values) for name, values in rates.items()}
    figures |= {"on / off, median": share, "lowest turn": min(ratios), "highest turn": max(ratios), "spans": spans}
    table = Table("figure", "value", title=f"{len(ratios)} turns, {CALLERS} callers, {_SHARE:.0%} of calls traced")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    return Result(figures, [at_least("answers with tracing / without", _MIN_SHARE, share)], [table])

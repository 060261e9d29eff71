"""Do two stages beat the first alone, and that popular items? Complete Journey, as in the demo."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.record import Finding, at_least
from pipeline.build_settings import BuildSettings
from pipeline.demo import build_release, latency_table, measure, quality_table, serve
from pipeline.evaluate import Measured
from pipeline.progress import ProgressReport

_STORE: Final = Path("releases/complete-journey")
_QUICK_PEOPLE: Final = 60


def run(quick: bool, console: Console) -> Finding:
    """Build or reuse the demo's release, and measure it through the gateway; quick asks fewer households."""
    settings, report = BuildSettings(), ProgressReport(console)
    built = build_release(_STORE, settings, report)
    if quick:
        built = dataclasses.replace(built, people=built.people[:_QUICK_PEOPLE])
    with serve(built, report) as services:
        measured = measure(services.targets["gateway"], built, settings.seed, report)
    bars = [
        at_least(f"{mode}: gain in NDCG@10 over the mode before, lower end of the paired 95 % interval", 0.0, low)
        for mode, figures in measured.items()
        if figures.gain is not None
        for low in [figures.gain["ndcg@10"].low]
    ]
    tables = [quality_table(measured, built.people, built.windows), latency_table(measured)]
    return Finding({mode: _figures(figures) for mode, figures in measured.items()}, bars, tables)


def _figures(measured: Measured) -> dict[str, Any]:
    return dataclasses.asdict(measured)

"""Are two stages better than the first alone, and that better than popular items? Complete Journey, as in the demo."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.harness.record import Result, at_least
from benchmarks.offline.evaluated import evaluation_figures
from pipeline.demo import build_release, latency_table, measure, quality_table, serve
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings

_STORE: Final = Path("releases/complete-journey")
_QUICK_USERS: Final = 60


def run(quick: bool, console: Console) -> Result:
    """Build or reuse the demo's release, and measure it through the gateway; quick takes fewer households."""
    settings, report = BuildSettings(), ProgressReport(console)
    built = build_release(_STORE, settings, report)
    if quick:
        fewer = dataclasses.replace(built.questions, main=built.questions.main[:_QUICK_USERS])
        built = dataclasses.replace(built, questions=fewer)
    with serve(built, report) as services:
        found = measure(services.targets["gateway"], built, report)
    thresholds = [
        at_least(f"{after}: gain in NDCG@10 over {before}, lower end of the paired 95 % interval", 0.0, gain.low)
        for before, after in pairwise(found.modes)
        for gain in [found.modes[after].over[before]["ndcg@10"]]
    ]
    return Result(evaluation_figures(found), thresholds, [quality_table(found), latency_table(found)])

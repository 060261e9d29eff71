"""Next items on Office Products of Amazon Reviews 2018, in the official split of MiniOneRec (arXiv 2510.24431).

A release is built from what is known at training time, and the gateway is asked by history for every test row. All
items are ranked; those already in the history stay. Published ids follow the items' first appearance, so that ties
broken by id would leak: items are given other ids.
"""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.data.amazon_office import EXAMPLES, STORE, office, office_data, office_release, test_rows
from benchmarks.harness.record import Result, Threshold, at_least, at_most
from benchmarks.offline.ablation import ablation, ablation_table
from benchmarks.offline.evaluated import figures
from pipeline.evaluation.evaluation import EvaluationSettings, evaluate_release
from pipeline.local_services import local_services
from pipeline.measurement.metrics.evaluation_result import Evaluation, Mode
from pipeline.measurement.questions.answers import BOTH
from pipeline.measurement.questions.protocols import Question, Questions
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEQUENCES

_QUICK_ROWS: Final = 200
_BUILD_MINUTES: Final = 20.0
_CANDIDATES: Final = 300
_PATIENT: Final = {
    "SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "30",
    "SHORTLIST_GATEWAY_CANDIDATES": str(_CANDIDATES),
    "SHORTLIST_RANKING_REQUEST_TIMEOUT_S": "30",
}
# HR@10 and NDCG@10 as published for the same split, by models that had a part of the training file more.
PUBLISHED: Final = {
    "GRU4Rec": (0.1019, 0.0669),
    "Caser": (0.1093, 0.0737),
    "SASRec": (0.1120, 0.0858),
    "HSTU": (0.1400, 0.1126),
    "TIGER": (0.1408, 0.1002),
    "LCRec": (0.1237, 0.0920),
    "BIGRec": (0.1434, 0.1091),
    "D3": (0.1634, 0.1213),
    "S-DPO": (0.1587, 0.1255),
    "MiniOneRec": (0.1634, 0.1242),
}


def run(quick: bool, console: Console) -> Result:
    """Build or reuse the release, ask the gateway for every test row, and ablate; quick asks fewer rows."""
    data, report = office_data(), ProgressReport(console)
    settings = BuildSettings.of(SEQUENCES.name)
    release = office_release(office(data), report)
    rows = test_rows(data)[: _QUICK_ROWS if quick else None]
    with local_services(release.path, STORE / ".services", _PATIENT) as services:
        how = EvaluationSettings(gateway=services.targets["gateway"], seed=settings.seed)
        found = evaluate_release(release, _questions(rows), how, report)
    without = {} if quick else ablation(EXAMPLES, settings, report)
    minutes = float(release.manifest.metrics["build_s"]) / 60
    recorded: dict[str, Any] = {
        "test": figures(found),
        "rows": len(rows),
        "validation": release.manifest.metrics["validation"],
        "ablation": without,
        "build_minutes": minutes,
        "published": {name: {"hr@10": hr, "ndcg@10": ndcg} for name, (hr, ndcg) in PUBLISHED.items()},
    }
    return Result(recorded, _bars(found.modes[BOTH], minutes), [_table(found), ablation_table(without)])


def _questions(rows: list[Question]) -> Questions:
    return Questions("given", f"{len(rows):,} rows of the official test split, by history", rows)


def _bars(two_stages: Mode, minutes: float) -> list[Threshold]:
    return [
        at_least("test NDCG@10, all items ranked", 0.150, two_stages.measures["ndcg@10"].mean),
        at_least("test HR@10, all items ranked", 0.195, two_stages.measures["hr@10"].mean),
        at_most("minutes from dataset to release", _BUILD_MINUTES, minutes),
    ]


def _table(found: Evaluation) -> Table:
    table = Table("", "HR@10", "NDCG@10", "95 %", title="Office Products, official test split, all items ranked")
    for name, (hr, ndcg) in PUBLISHED.items():
        table.add_row(f"{name} (published)", f"{hr:.4f}", f"{ndcg:.4f}", "")
    for name, mode in found.modes.items():
        hit, gain = mode.measures["hr@10"], mode.measures["ndcg@10"]
        table.add_row(name, f"{hit.mean:.4f}", f"{gain.mean:.4f}", f"{gain.low:.4f} to {gain.high:.4f}")
    return table

"""Next items on Office Products of Amazon Reviews 2018, in the official split of MiniOneRec (arXiv 2510.24431).

A release is built from the training part, and the gateway answers every test row by its history. All items are ranked,
including those of the history. Published ids follow the order of first purchase, so ties broken by id would leak it:
items get other ids.
"""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.data.amazon_office import EXAMPLES, STORE, office_data, office_release, test_questions, training_dataset
from benchmarks.harness.record import Result, Threshold, at_least, at_most
from benchmarks.offline.ablation import ablation, ablation_table
from benchmarks.offline.evaluated import evaluation_figures
from pipeline.evaluation.evaluation import EvaluationSettings, evaluate_release
from pipeline.local_services import local_services
from pipeline.measurement.metrics.evaluation_result import Evaluation, ModeResult
from pipeline.measurement.questions.answers import BOTH
from pipeline.measurement.questions.protocols import Question, Questions
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEQUENCES

_QUICK_ROWS: Final = 200
_MAX_BUILD_MINUTES: Final = 20.0
_CANDIDATES: Final = 300
_PATIENT: Final = {
    "SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "30",
    "SHORTLIST_GATEWAY_CANDIDATES": str(_CANDIDATES),
    "SHORTLIST_RANKING_REQUEST_TIMEOUT_S": "30",
}
# Published HR@10 and NDCG@10 for the same split, by models that were trained on more of the training file.
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
    """Build or reuse the release, evaluate every test row through the gateway, and ablate; quick takes fewer rows."""
    data, report = office_data(), ProgressReport(console)
    settings = BuildSettings.from_recipe(SEQUENCES.name)
    release = office_release(training_dataset(data), report)
    rows = test_questions(data)[: _QUICK_ROWS if quick else None]
    with local_services(release.path, STORE / ".services", _PATIENT) as services:
        options = EvaluationSettings(gateway=services.targets["gateway"], seed=settings.seed)
        found = evaluate_release(release, _questions(rows), options, report)
    without = {} if quick else ablation(EXAMPLES, settings, report)
    minutes = float(release.manifest.metrics["build_s"]) / 60
    recorded: dict[str, Any] = {
        "test": evaluation_figures(found),
        "rows": len(rows),
        "validation": release.manifest.metrics["validation"],
        "ablation": without,
        "build_minutes": minutes,
        "published": {name: {"hr@10": hr, "ndcg@10": ndcg} for name, (hr, ndcg) in PUBLISHED.items()},
    }
    return Result(recorded, _thresholds(found.modes[BOTH], minutes), [_table(found), ablation_table(without)])


def _questions(rows: list[Question]) -> Questions:
    return Questions("given", f"{len(rows):,} rows of the official test split, by history", rows)


def _thresholds(two_stages: ModeResult, minutes: float) -> list[Threshold]:
    return [
        at_least("test NDCG@10, all items ranked", 0.150, two_stages.measures["ndcg@10"].mean),
        at_least("test HR@10, all items ranked", 0.195, two_stages.measures["hr@10"].mean),
        at_most("minutes from dataset to release", _MAX_BUILD_MINUTES, minutes),
    ]


def _table(found: Evaluation) -> Table:
    table = Table("", "HR@10", "NDCG@10", "95 %", title="Office Products, official test split, all items ranked")
    for name, (hr, ndcg) in PUBLISHED.items():
        table.add_row(f"{name} (published)", f"{hr:.4f}", f"{ndcg:.4f}", "")
    for name, mode in found.modes.items():
        hit, gain = mode.measures["hr@10"], mode.measures["ndcg@10"]
        table.add_row(name, f"{hit.mean:.4f}", f"{gain.mean:.4f}", f"{gain.low:.4f} to {gain.high:.4f}")
    return table

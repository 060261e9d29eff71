"""Next items on Office Products of Amazon Reviews 2018, in the official split of MiniOneRec (arXiv 2510.24431).

A release is built from what is known at training time, and the gateway is asked by history for every test row. All
items are ranked; those already in the history stay. Published ids follow the items' first appearance, so that ties
broken by id would leak: items are given other ids.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Final

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.ablation import ablation, ablation_table
from benchmarks.evaluated import figures
from benchmarks.record import Bar, Finding, at_least, at_most
from common.release import Release
from pipeline.build import build
from pipeline.build_settings import BuildSettings
from pipeline.dataset import BadDataset, Dataset
from pipeline.evaluation.answers import BOTH
from pipeline.evaluation.evaluation import How, evaluate_release
from pipeline.evaluation.questions import Question, Questions
from pipeline.evaluation.result import Evaluation, Mode
from pipeline.local_services import local_services
from pipeline.prepare import prepare
from pipeline.progress import ProgressReport
from pipeline.recipe import SEQUENCES

_STORE: Final = Path("releases/amazon-office")
_EXAMPLES: Final = _STORE / ".examples"
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


def run(quick: bool, console: Console) -> Finding:
    """Build or reuse the release, ask the gateway for every test row, and ablate; quick asks fewer rows."""
    data, report = office_data(), ProgressReport(console)
    settings = BuildSettings.of(SEQUENCES.name)
    release = office_release(office(data), report)
    rows = test_rows(data)[: _QUICK_ROWS if quick else None]
    with local_services(release.path, _STORE / ".services", _PATIENT) as services:
        how = How(gateway=services.targets["gateway"], seed=settings.seed)
        found = evaluate_release(release, _questions(rows), how, report)
    without = {} if quick else ablation(_EXAMPLES, settings, report)
    minutes = float(release.manifest.metrics["build_s"]) / 60
    recorded: dict[str, Any] = {
        "test": figures(found),
        "rows": len(rows),
        "validation": release.manifest.metrics["validation"],
        "ablation": without,
        "build_minutes": minutes,
        "published": {name: {"hr@10": hr, "ndcg@10": ndcg} for name, (hr, ndcg) in PUBLISHED.items()},
    }
    return Finding(recorded, _bars(found.modes[BOTH], minutes), [_table(found), ablation_table(without)])


def office_data() -> Path:
    """Return the folder of the data; raises BadDataset where there is none."""
    shared = os.environ.get("SHORTLIST_DATA") or Path(__file__).resolve().parents[2] / "shared/data"
    folder = Path(shared) / "amazon-office"
    if not folder.is_dir():
        raise BadDataset(f"{folder} does not exist; name the folder of the data for measuring with SHORTLIST_DATA")
    return folder


def office_release(dataset: Dataset, report: ProgressReport) -> Release:
    """Return the release built from what is known at training time, built now where it is not there."""
    return build(dataset, _STORE, BuildSettings.of(SEQUENCES.name), report, examples_to=_EXAMPLES)


def office(data: Path) -> Dataset:
    """Return what is known at training time, its items under ids that tell nothing."""
    known = prepare("amazon-office", data)
    items, events = (table.with_columns(_renamed("item_id")) for table in (known.items, known.events))
    return Dataset(items, events, None, known.report)


def test_rows(data: Path) -> list[Question]:
    """Return the official test rows; each is a request of its own."""
    rows = pl.read_parquet(data / "next_item_test.parquet").select(
        pl.col("history").list.eval(_renamed("")), _renamed("target")
    )
    return [
        Question(f"row-{number}", f"row-{number}", history, "", {target: 1.0})
        for number, (history, target) in enumerate(rows.iter_rows())
    ]


def _questions(rows: list[Question]) -> Questions:
    return Questions("given", f"{len(rows):,} rows of the official test split, by history", rows)


def _renamed(column: str) -> pl.Expr:
    return pl.col(column).map_elements(_blind, return_dtype=pl.String) if column else _element()


def _element() -> pl.Expr:
    return pl.element().map_elements(_blind, return_dtype=pl.String)


def _blind(item_id: str) -> str:
    return hashlib.sha256(f"office {item_id}".encode()).hexdigest()[:12]


def _bars(two_stages: Mode, minutes: float) -> list[Bar]:
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

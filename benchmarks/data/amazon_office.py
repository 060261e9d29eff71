"""Amazon Office: official split and release."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

import polars as pl

from common.release.store import Release
from pipeline.build.builder import build
from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEQUENCES

STORE: Final = Path("releases/amazon-office")
EXAMPLES: Final = STORE / ".examples"


def office_data() -> Path:
    """Return the folder of the data; raises BadDataset where there is none."""
    shared = os.environ.get("SHORTLIST_DATA") or Path(__file__).resolve().parents[3] / "shared/data"
    folder = Path(shared) / "amazon-office"
    if not folder.is_dir():
        raise BadDataset(f"{folder} does not exist; name the folder of the data for measuring with SHORTLIST_DATA")
    return folder


def office_release(dataset: Dataset, report: ProgressReport) -> Release:
    """Return the release built from what is known at training time, built now where it is not there."""
    return build(dataset, STORE, BuildSettings.of(SEQUENCES.name), report, examples_dir=EXAMPLES)


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


def _renamed(column: str) -> pl.Expr:
    return pl.col(column).map_elements(_blind, return_dtype=pl.String) if column else _element()


def _element() -> pl.Expr:
    return pl.element().map_elements(_blind, return_dtype=pl.String)


def _blind(item_id: str) -> str:
    return hashlib.sha256(f"office {item_id}".encode()).hexdigest()[:12]

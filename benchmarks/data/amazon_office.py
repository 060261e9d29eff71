"""Amazon Office Products: the official split, and a release of its training part."""

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
    """Return the folder of the data; raises BadDataset if it is missing."""
    shared = os.environ.get("SHORTLIST_DATA") or Path(__file__).resolve().parents[3] / "shared/data"
    folder = Path(shared) / "amazon-office"
    if not folder.is_dir():
        raise BadDataset(f"{folder} does not exist; set SHORTLIST_DATA to the folder of the benchmark data")
    return folder


def office_release(dataset: Dataset, report: ProgressReport) -> Release:
    """Return the release of the training part; it is built unless the store has it."""
    return build(dataset, STORE, BuildSettings.from_recipe(SEQUENCES.name), report, examples_dir=EXAMPLES)


def training_dataset(data: Path) -> Dataset:
    """Return the training part with new item ids, since the published ones reveal the order of first purchase."""
    known = prepare("amazon-office", data)
    items, events = (table.with_columns(_new_ids("item_id")) for table in (known.items, known.events))
    return Dataset(items, events, None, known.report)


def test_questions(data: Path) -> list[Question]:
    """Return the official test rows, one question each."""
    rows = pl.read_parquet(data / "next_item_test.parquet").select(
        pl.col("history").list.eval(_new_ids("")), _new_ids("target")
    )
    return [
        Question(f"row-{number}", f"row-{number}", history, "", {target: 1.0})
        for number, (history, target) in enumerate(rows.iter_rows())
    ]


def _new_ids(column: str) -> pl.Expr:
    return pl.col(column).map_elements(_new_id, return_dtype=pl.String) if column else _new_list_ids()


def _new_list_ids() -> pl.Expr:
    return pl.element().map_elements(_new_id, return_dtype=pl.String)


def _new_id(item_id: str) -> str:
    return hashlib.sha256(f"office {item_id}".encode()).hexdigest()[:12]

"""Home Depot product search relevance: graded judgements of search results, split by query."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.files.tables import read_table
from pipeline.data.ingest.plain_text import plain_column
from pipeline.data.ingest.row_filter import RowFilter, filter_judgements, no_events, no_events_report, refuse_empty

_JUDGEMENT: Final = ("query", "item_id", "relevance")


_SPLITS: Final = ("train", "test")


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from ``items.parquet``, ``judgements_train.parquet`` and ``judgements_test.parquet`` in a folder.

    Relevance is 0 to 2, the mean of at least three raters. ``split`` names the file of a judgement.

    Raises:
        BadDataset: A file or a column is missing, or no usable row is left.
    """
    progress("reading items")
    items = RowFilter(_read(data / "items.parquet", ("item_id", "title")).with_columns(plain_column("title")))
    items.drop("no_id", "The item has no id.", pl.col("item_id").is_null())
    items.drop("no_title", "The item has no title.", pl.col("title").is_null())
    again = ~pl.col("item_id").is_first_distinct()
    items.drop("repeated_id", "An item with this id came before; the first one stays.", again)
    refuse_empty(items, f"{data}/items.parquet")
    progress("reading judgements")
    parts = [
        _read(data / f"judgements_{part}.parquet", _JUDGEMENT).with_columns(split=pl.lit(part)) for part in _SPLITS
    ]
    judgements = filter_judgements(pl.concat(parts), items.frame)
    refuse_empty(judgements, f"{data}: judgements")
    report = DataReport(
        source=ADAPTER.name,
        licence=ADAPTER.licence,
        tables={"items": items.report(), "events": no_events_report(), "judgements": judgements.report()},
    )
    return Dataset(items.frame, no_events(), judgements.frame, report)


def _read(file: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    return read_table(file, {column: column for column in columns})


ADAPTER: Final = Adapter(
    name="home-depot",
    description="Home Depot search relevance: a folder with items and judgements_train and _test, Parquet",
    licence="Home Depot product search relevance, Kaggle (competition terms, research use)",
    prepare=prepare,
)

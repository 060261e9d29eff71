"""Amazon Office Products 2018 in the split of MiniOneRec (arXiv 2510.24431): items and sequences without times."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.files.tables import read_table
from pipeline.data.ingest.plain_text import plain_cell, plain_literal
from pipeline.data.ingest.row_filter import RowFilter, refuse_empty

_ITEM: Final = ("item_id", "title", "brand", "description")


_SEQUENCE: Final = ("user_id", "item_id", "position", "split")


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a folder with ``items.parquet`` and ``sequences.parquet``.

    Only the order of a user's events is known (``position``). The rows of the official validation and test are not
    part of the dataset; `evaluate --examples` takes such files.

    Raises:
        BadDataset: A file or a column is missing, or no usable row is left.
    """
    progress("reading items")
    items = RowFilter(_read(data / "items.parquet", _ITEM).with_columns(_text(plain_cell, "title", "brand")))
    _clean_items(items)
    refuse_empty(items, f"{data}/items.parquet")
    kept = items.frame.with_columns(_text(plain_literal, "description"))
    progress("reading sequences")
    events = RowFilter(_read(data / "sequences.parquet", _SEQUENCE))
    _clean_events(events, kept)
    refuse_empty(events, f"{data}/sequences.parquet")
    report = DataReport(
        source=ADAPTER.name,
        licence=ADAPTER.licence,
        tables={"items": items.report(missing_in=kept), "events": events.report()},
        notes=["Times are unknown: a user's events have positions alone."],
    )
    return Dataset(kept, events.frame.with_columns(pl.lit("review").alias("event")), None, report)


def _read(file: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    return read_table(file, {column: column for column in columns})


def _text(function: object, *columns: str) -> pl.Expr:
    return pl.col(columns).map_elements(function, return_dtype=pl.String)  # type: ignore[arg-type]  # str to str


def _clean_items(items: RowFilter) -> None:
    items.drop("no_id", "The item has no id.", pl.col("item_id").is_null())
    items.drop("no_title", "The item has no title.", pl.col("title").is_null())
    again = ~pl.col("item_id").is_first_distinct()
    items.drop("repeated_id", "An item with this id came before; the first one stays.", again)


def _clean_events(events: RowFilter, items: pl.DataFrame) -> None:
    missing = pl.any_horizontal(pl.col("user_id", "item_id", "position").is_null())
    events.drop("incomplete", "User, item or position is missing.", missing)
    known = pl.col("item_id").is_in(items["item_id"].implode())
    events.drop("unknown_item", "The item is not among the items.", ~known)
    again = ~pl.struct("user_id", "position").is_first_distinct()
    events.drop("repeated_position", "The user has an event at this position already; the first one stays.", again)


ADAPTER: Final = Adapter(
    name="amazon-office",
    description="Amazon Office Products in MiniOneRec's split: a folder with items.parquet and sequences.parquet",
    licence="Amazon Reviews 2018, McAuley Lab (no licence stated; cite the paper, research use)",
    prepare=prepare,
)

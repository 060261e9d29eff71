"""A dataset: items, events and judgements in Parquet, with the report of how they came to be.

Every dataset is in canonical form, so that equal content means equal bytes in memory and an equal fingerprint:
columns as pipeline.data.dataset.schema lists them, then further ones by name; items by id; events by user, then
oldest first.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Final, Self

import numpy as np
import polars as pl
from pydantic import ValidationError

from pipeline.data.dataset.report import DataReport
from pipeline.data.dataset.schema import (
    EVENTS,
    ITEMS,
    JUDGEMENTS,
    TABLES,
    BadDataset,
    TableSpec,
    canonical,
    check_items_known,
    check_unique,
    checked,
    with_optional,
)

__all__ = ["REPORT", "BadDataset", "Dataset"]


REPORT: Final = "report.json"


class Dataset:
    """Checked tables in canonical form.

    ``items`` has every optional column of ITEMS, null if the data has no value; ``events`` has those that the
    data has, and at least one of ``timestamp`` and ``position``. Further columns of items are attributes.

    Raises:
        BadDataset: A needed column is missing or has empty cells, a column is of the wrong type, an item or event
            id occurs twice, a number is negative or not finite, or an event or judgement names an unknown item.
    """

    def __init__(
        self, items: pl.DataFrame, events: pl.DataFrame, judgements: pl.DataFrame | None, report: DataReport
    ) -> None:
        self.items = canonical(with_optional(checked(items, ITEMS), ITEMS), ITEMS)
        typed = [checked(events, EVENTS)]
        del events  # as much memory again while they are sorted, unless the caller holds them
        self.events = canonical(typed.pop(), EVENTS)
        self.judgements = None if judgements is None else canonical(checked(judgements, JUDGEMENTS), JUDGEMENTS)
        self.report = report
        check_unique(self.items, "item_id", ITEMS)
        check_unique(self.events, "event_id", EVENTS)
        check_items_known(self.events, self.items, EVENTS)
        if self.judgements is not None:
            check_items_known(self.judgements, self.items, JUDGEMENTS)

    @property
    def order_column(self) -> str:
        """The column that orders a user's events: ``timestamp``, else ``position``."""
        return "timestamp" if "timestamp" in self.events.columns else "position"

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return the tables that there are, by name."""
        tables = {"items": self.items, "events": self.events, "judgements": self.judgements}
        return {name: table for name, table in tables.items() if table is not None}

    def fingerprint(self) -> str:
        """Return SHA-256 over all cells as hex; the layout of files and the report have no part in it."""
        digest = hashlib.sha256()
        for name, table in self.tables().items():
            digest.update(f"{name} {table.height}\n".encode())
            for column in table.iter_columns():
                _digest_column(digest, column)
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the dataset to a staging folder and rename it, so that the folder is complete at any time.

        Raises:
            BadDataset: ``folder`` has other content, which is not overwritten.
        """
        if folder.exists() and any(folder.iterdir()) and not (folder / REPORT).exists():
            raise BadDataset(f"{folder} is not empty and is no dataset; name another folder or empty it")
        staging = folder.parent / f".{folder.name}.{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for name, table in self.tables().items():
            table.write_parquet(staging / TABLES[name].file)
        (staging / REPORT).write_text(self.report.model_dump_json(indent=1) + "\n")
        _put_in_place(staging, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read and check the dataset at ``folder``; raises BadDataset as the constructor does, naming the file."""
        frames = {name: _read(folder, table) for name, table in TABLES.items()}
        items, events, judgements = (frames[name] for name in TABLES)
        if items is None or events is None:
            lacks = ITEMS.file if items is None else EVENTS.file
            raise BadDataset(f"{folder} is no dataset: it has no {lacks}; make one with `python -m pipeline prepare`")
        try:
            return cls(items, events, judgements, _read_report(folder))
        except BadDataset as error:
            raise BadDataset(f"{folder}: {error}") from None


def _put_in_place(staging: Path, folder: Path) -> None:
    old = staging.with_name(f"{staging.name}.old")
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _read(folder: Path, table: TableSpec) -> pl.DataFrame | None:
    file = folder / table.file
    if not file.is_file():
        return None
    try:
        return pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadDataset(f"{file} cannot be read as Parquet: {error}") from error


def _read_report(folder: Path) -> DataReport:
    try:
        return DataReport.model_validate_json((folder / REPORT).read_bytes())
    except (OSError, ValidationError) as error:
        raise BadDataset(f"its {REPORT} cannot be read: {error}; prepare the data again") from error


def _digest_column(digest: hashlib._Hash, column: pl.Series) -> None:
    """Feed name, type, empty cells and values; text as lengths and bytes, so that no two columns read the same."""
    digest.update(f"{column.name} {column.dtype}\n".encode())
    digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if column.dtype == pl.String:
        digest.update(column.str.len_bytes().fill_null(0).to_numpy().astype("<u4").tobytes())
        digest.update((column.str.join("").item() or "").encode())
    else:
        physical = column.to_physical()
        digest.update(physical.fill_null(False if physical.dtype == pl.Boolean else 0).to_numpy().tobytes())

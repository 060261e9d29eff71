"""Files of public data sets as published: found by name, read as text, refused if they hold something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.delimited import read_delimited
from pipeline.data.files.file_note import FileNote
from pipeline.data.files.tables import read_raw_table, select_columns
from pipeline.data.files.text_files import COMPRESSIONS, plain_suffix, read_text_file
from pipeline.data.ingest.row_filter import RowFilter, refuse_empty
from pipeline.data.ingest.values import as_text

_MAX_UNREADABLE_SHARE: Final = 0.5


class PublishedFiles:
    """The files of a data set.

    Attributes:
        folder: Their folder.
        notes: Sentences on how the files that were read are written.
    """

    def __init__(self, data: Path) -> None:
        self.folder = data.parent if data.is_file() else data
        self.notes: list[str] = []

    def find(self, name: str) -> Path | None:
        """Return the file of a name, in any case, compressed or converted to Parquet; None if there is none."""
        stem = Path(name).stem.lower()
        wanted = {name.lower(), f"{stem}.parquet", *(f"{name.lower()}{packed}" for packed in COMPRESSIONS)}
        files = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return next((file for file in files if file.name.lower() in wanted), None)

    def path(self, name: str) -> Path:
        """Return the file of a name; raises BadDataset if there is none."""
        file = self.find(name)
        if file is None:
            raise BadDataset(
                f"{self.folder} holds no {name}, compressed or not; name the folder of the published files"
            )
        return file

    def read(self, name: str, columns: Mapping[str, str], delimiter: str | None = None) -> pl.DataFrame:
        """Read columns of a file as text.

        Args:
            name: The file's published name.
            columns: For each column wanted its name in the file.
            delimiter: Of delimited text; None finds it.

        Raises:
            BadDataset: The file or a column is missing, or the file cannot be read.
        """
        file = self.path(name)
        table = read_raw_table(file, delimiter=delimiter)
        self.notes.extend(sentence for note in table.notes for sentence in note.sentences())
        return _as_text(select_columns(table.frame, columns, file))

    def read_rows(self, name: str, columns: Sequence[str], delimiter: str = ",") -> pl.DataFrame:
        """Read a file of delimited text without a heading; ``columns`` names all its columns. Errors as `read`."""
        file = self.path(name)
        if plain_suffix(file) == ".parquet":
            return _as_text(select_columns(read_raw_table(file).frame, {column: column for column in columns}, file))
        text = read_text_file(file)
        table = read_delimited(text, file, delimiter, columns)
        note = FileNote(
            file,
            "csv",
            text.encoding,
            table.delimiter,
            replaced=text.replaced,
            ragged=table.ragged,
            examples=table.examples,
            example=text.example,
        )
        self.notes.extend(note.sentences())
        return _as_text(table.frame)

    def check(self, table: RowFilter, name: str, columns: Mapping[str, str]) -> None:
        """Raise BadDataset if most cells of a column cannot be read, or no row of a table is left.

        Args:
            table: The cleaned table.
            name: The published name of its file.
            columns: For each column its name in the file.
        """
        file = self.path(name)
        for column, found in table.unreadable.items():
            if found.cells > _MAX_UNREADABLE_SHARE * table.rows_in:
                raise BadDataset(
                    f"{file}: {found.cells:,} of {table.rows_in:,} cells of the column {columns.get(column, column)!r} "
                    f"are no {column}, such as {', '.join(map(repr, found.examples))}; use the file as it was published"
                )
        if not table.rows_in:
            raise BadDataset(f"{file} has no rows; use the file as it was published")
        refuse_empty(table, str(file))

    def dataset(self, adapter: Adapter, items: RowFilter, events: RowFilter, notes: Sequence[str] = ()) -> Dataset:
        """Return the dataset of cleaned tables, with its report."""
        report = DataReport(
            source=adapter.name,
            licence=adapter.licence,
            tables={"items": items.report(), "events": events.report()},
            notes=[*notes, *self.notes],
        )
        return Dataset(items.frame, events.take(), None, report)


def last_stated(frame: pl.DataFrame, key: str, order: str | None = None) -> pl.DataFrame:
    """Return one row for each value of a column, in order of appearance, with what the last rows state.

    Args:
        frame: The rows; an empty cell states nothing.
        key: The column; rows without a value are left out.
        order: The column that orders the rows and is left out of the result; None keeps their order.
    """
    rows = frame.filter(pl.col(key).is_not_null())
    if order is not None:
        rows = rows.sort(order, maintain_order=True, nulls_last=False).drop(order)
    return rows.group_by(key, maintain_order=True).agg(pl.all().drop_nulls().last())


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(as_text(column) for column in frame.iter_columns())

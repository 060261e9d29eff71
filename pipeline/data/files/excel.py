"""Reading Excel workbooks (.xlsx): every sheet, one below the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import fastexcel
import polars as pl

from pipeline.data.dataset.schema import BadDataset

_UNNAMED: Final = "__UNNAMED__"  # as fastexcel names a column without a name
_MAX_TITLES: Final = 20
_MIN_COLUMNS: Final = 3


@dataclass(frozen=True)
class Sheets:
    """The rows of a workbook.

    Attributes:
        frame: The rows of all its sheets.
        skipped: How many rows came before the headings and were left out: titles and empty rows.
    """

    frame: pl.DataFrame
    skipped: int = 0


def read_workbook(file: Path, *, infer: bool) -> Sheets:
    """Read the sheets of a workbook in their order; the first row of each names its columns, empty ones are left out.

    Rows with one cell before a heading of three or more are titles. A column without a name is left out.

    Args:
        file: The workbook.
        infer: Whether columns get the type of their cells; without, they become text, dates as ISO 8601.

    Raises:
        BadDataset: It is no workbook, no sheet has a column, two columns have one name, or sheets differ in their
            columns.
    """
    sheets: dict[str, pl.DataFrame] = {}
    skipped = 0
    try:
        workbook = fastexcel.read_excel(file)
        for name in workbook.sheet_names:
            heading = _heading(workbook, name, file)
            skipped += heading
            types = None if infer else "string"
            read = workbook.load_sheet(name, header_row=heading, dtypes=types, schema_sample_rows=None).to_polars()  # type: ignore[arg-type]
            sheets[name] = read.select(column for column in read.columns if not column.startswith(_UNNAMED))
    except fastexcel.FastExcelError as error:
        raise BadDataset(f"{file} cannot be read as xlsx: {str(error).splitlines()[0]}") from error
    filled = {name: sheet for name, sheet in sheets.items() if sheet.columns}
    if not filled:
        raise BadDataset(f"{file} has no sheet whose first row names columns")
    (first, table), *others = filled.items()
    for name, sheet in others:
        if sheet.columns != table.columns:
            raise BadDataset(
                f"{file}: the sheet {name!r} has the columns {', '.join(sheet.columns)}, and {first!r} has "
                f"{', '.join(table.columns)}; keep sheets of one table in the file"
            )
    mixed = {name for name in table.columns if len({sheet[name].dtype for sheet in filled.values()}) > 1}
    return Sheets(pl.concat([_as_text(sheet, mixed) for sheet in filled.values()], how="vertical_relaxed"), skipped)


def _heading(workbook: fastexcel.ExcelReader, sheet: str, file: Path) -> int:
    """Return the row that names a sheet's columns; raises BadDataset if two have one name."""
    head = workbook.load_sheet(sheet, header_row=None, n_rows=_MAX_TITLES, dtypes="string", schema_sample_rows=None)
    rows = head.to_polars().rows()
    filled = [sum(cell is not None for cell in row) for row in rows]
    heading = next((at for at, count in enumerate(filled) if count > 1), 0)
    heading = heading if filled and filled[heading] >= _MIN_COLUMNS else 0
    names = [str(cell).strip() for cell in (rows[heading] if rows else ()) if cell is not None]
    repeated = next((name for name, times in Counter(names).items() if times > 1), None)
    if repeated is not None:
        raise BadDataset(
            f"{file}, sheet {sheet!r}, row {heading + 1}: the column {repeated!r} is named {names.count(repeated)} "
            "times; rename one"
        )
    return heading


def _as_text(sheet: pl.DataFrame, columns: Collection[str]) -> pl.DataFrame:
    """Return a sheet with some columns as text, whole numbers without a fraction, as mixed columns of one sheet are."""
    numbers = [name for name in columns if sheet[name].dtype.is_float()]
    text = sheet.with_columns(pl.col(name).cast(pl.String) for name in columns)
    return text.with_columns(pl.col(name).str.strip_suffix(".0") for name in numbers)

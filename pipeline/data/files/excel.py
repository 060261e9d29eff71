"""Reading Excel workbooks (.xlsx): every sheet, one below the other."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import fastexcel
import polars as pl

from pipeline.data.dataset.schema import BadDataset


def read_workbook(file: Path, *, infer: bool) -> pl.DataFrame:
    """Read the sheets of a workbook in their order; the first row of each names its columns, empty ones are left out.

    Args:
        file: The workbook.
        infer: Whether columns get the type of their cells; without, they become text, dates as ISO 8601.

    Raises:
        BadDataset: It is no workbook, no sheet has a column, or sheets differ in their columns.
    """
    try:
        workbook = fastexcel.read_excel(file)
        sheets = {
            name: workbook.load_sheet(name, dtypes=None if infer else "string", schema_sample_rows=None).to_polars()
            for name in workbook.sheet_names
        }
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
    return pl.concat([_as_text(sheet, mixed) for sheet in filled.values()], how="vertical_relaxed")


def _as_text(sheet: pl.DataFrame, columns: Collection[str]) -> pl.DataFrame:
    """Return a sheet with some columns as text, whole numbers without a fraction, as mixed columns of one sheet are."""
    numbers = [name for name in columns if sheet[name].dtype.is_float()]
    text = sheet.with_columns(pl.col(name).cast(pl.String) for name in columns)
    return text.with_columns(pl.col(name).str.strip_suffix(".0") for name in numbers)

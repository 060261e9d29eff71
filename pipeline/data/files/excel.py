"""Reading Excel workbooks (.xlsx): every sheet, one below the other."""

from __future__ import annotations

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
    return pl.concat(filled.values(), how="vertical_relaxed")

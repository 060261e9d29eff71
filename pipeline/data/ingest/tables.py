"""Reading tables in Parquet, CSV, JSON Lines or Excel, with the columns one wants by the names one wants."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.dataset.schema import TIMESTAMP, BadDataset, as_utc, check_columns
from pipeline.data.ingest.excel import read_workbook

SUFFIXES: Final = (".parquet", ".csv", ".jsonl", ".ndjson", ".xlsx")


# These mean one thing wherever they stand, so that one column may mix them …
_ISO_FORMATS: Final = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f%:z",
    "%Y-%m-%dT%H:%M:%S%.f%:z",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
)


# … while of these a column keeps to one: the one that most of its cells fit.
_LOCAL_FORMATS: Final = ("%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y %H:%M")


_EPOCH_MS_FROM: Final = 100_000_000_000  # as seconds, this would be the year 5138


def read_table(file: Path, columns: Mapping[str, str], *, infer: bool = True, separator: str = ",") -> pl.DataFrame:
    """Read the columns of a table.

    Args:
        file: A file whose suffix, one of SUFFIXES, says what it is.
        columns: For each column wanted its name in the file.
        infer: Whether numbers and dates of a CSV file or a workbook are recognised; without, cells are text.
        separator: What parts a CSV file's cells.

    Raises:
        BadDataset: No such file, an unknown suffix, unreadable content, or a column is missing.
    """
    return select_columns(read_all_columns(file, infer=infer, separator=separator), columns, file)


def select_columns(frame: pl.DataFrame, columns: Mapping[str, str], file: Path) -> pl.DataFrame:
    """Return some columns of what was read from a file.

    Args:
        frame: What was read.
        columns: For each column wanted its name in the file.
        file: The file.

    Raises:
        BadDataset: A column is missing.
    """
    check_columns(frame, set(columns.values()), str(file))
    return frame.select(pl.col(theirs).alias(ours) for ours, theirs in columns.items())


def read_columns(file: Path) -> list[str]:
    """Return the names of a table's columns; raises BadDataset as :func:`read_table` does."""
    return read_all_columns(file, infer=False).columns


def only_table(path: Path) -> Path:
    """Return ``path``, or the one table in that folder; raises BadDataset where there is none or more than one."""
    if not path.is_dir():
        return path
    found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise BadDataset(f"{path} should hold one table ({', '.join(SUFFIXES)}); found {names}; name the file itself")
    return found[0]


def read_all_columns(file: Path, *, infer: bool, separator: str = ",") -> pl.DataFrame:
    """Read every column of a table; arguments and errors are those of :func:`read_table`."""
    if not file.is_file():
        raise BadDataset(f"{file} does not exist or is no file; name the file that holds the table")
    try:
        match file.suffix:
            case ".parquet":
                return pl.read_parquet(file)
            case ".csv":
                return _read_csv(file, infer=infer, separator=separator)
            case ".jsonl" | ".ndjson":
                return pl.read_ndjson(file, infer_schema_length=None)
            case ".xlsx":
                return read_workbook(file, infer=infer)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadDataset(f"{file} cannot be read as {file.suffix[1:]}: {error}") from error
    raise BadDataset(f"{file} is of an unknown kind; its suffix must be one of {', '.join(SUFFIXES)}")


def _read_csv(file: Path, *, infer: bool, separator: str) -> pl.DataFrame:
    # Old exports are in Latin-1: what is not UTF-8 becomes a replacement character rather than an error.
    if infer:
        return pl.read_csv(
            file, infer_schema_length=None, try_parse_dates=True, encoding="utf8-lossy", separator=separator
        )
    return pl.read_csv(file, infer_schema=False, encoding="utf8-lossy", separator=separator)


def times_of(column: pl.Series) -> pl.Series:
    """Return a column of times as microseconds without zone, null where a cell is no time.

    Text in ISO 8601 is read cell by cell, anything else in the one format that fits most cells (a day before a month
    is told apart by days past the 12th; where there are none, the month comes first); whole numbers are seconds or
    milliseconds since 1970. Times with a zone become UTC.
    """
    if column.dtype == pl.String:
        trimmed = column.str.strip_chars().str.strip_suffix("Z")
        local = max((_parsed(trimmed, form) for form in _LOCAL_FORMATS), key=lambda times: times.count())
        return reduce(pl.Series.fill_null, [*(_parsed(trimmed, form) for form in _ISO_FORMATS), local])
    if column.dtype == pl.Date:
        return column.cast(TIMESTAMP)
    if column.dtype.is_integer():
        milliseconds = column.max() is not None and int(column.max()) >= _EPOCH_MS_FROM  # type: ignore[arg-type]  # of an integer column
        return (column.cast(pl.Int64) * (1_000 if milliseconds else 1_000_000)).cast(TIMESTAMP)
    if isinstance(column.dtype, pl.Datetime):
        return as_utc(column)
    raise BadDataset(f"the column {column.name!r} is of type {column.dtype}, which is no time")


def _parsed(column: pl.Series, form: str) -> pl.Series:
    times = column.str.to_datetime(form, time_unit="us", strict=False)
    return times.dt.replace_time_zone(None) if form.endswith("z") else times

"""Tables of delimited text (CSV, TSV and their like), every cell as text."""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.dialects import Dialect, find_dialect, plain_form, sample_of
from pipeline.data.files.open_quotes import refuse_open_quotes
from pipeline.data.files.text_files import TextFile

_MAX_EXAMPLES: Final = 3
_MARK: Final = "\ufeff"  # the mark of byte order, which begins each part


@dataclass(frozen=True)
class DelimitedTable:
    """A table of delimited text.

    Attributes:
        frame: Its rows, every cell as text; an empty one is null or empty text.
        delimiter: What parts its cells.
        ragged: How many lines had more cells than the heading and were left out.
        examples: Some of those lines, with their numbers.
        skipped: How many lines before the heading were left out: titles, comments, or `sep=;`.
        headings: How many rows equal the heading and were left out.
    """

    frame: pl.DataFrame
    delimiter: str
    ragged: int = 0
    examples: tuple[str, ...] = ()
    skipped: int = 0
    headings: int = 0


def read_delimited(
    text: TextFile, file: Path, delimiter: str | None = None, columns: Sequence[str] | None = None
) -> DelimitedTable:
    """Read a table whose first row names the columns, or one without a heading.

    Args:
        text: The file's text.
        file: The file, for messages.
        delimiter: What parts its cells; None finds the one that parts most rows as it parts the heading.
        columns: The names of the columns of a file without a heading.

    Raises:
        BadDataset: The file is empty, two columns have one name, or the first row of a file without a heading has
            another number of cells than `columns`.
    """
    sample = sample_of(text)
    if not sample.strip():
        begin = f"rows of {', '.join(columns)}" if columns else "a line of column names"
        raise BadDataset(f"{file} is empty; it should begin with {begin}")
    csv.field_size_limit(sys.maxsize)  # 128 KiB otherwise, which a description can have
    dialect = find_dialect(text, file, delimiter, heading=not columns)
    text, parted_by = plain_form(text, dialect), dialect.delimiter
    lines = io.StringIO(sample_of(text).lstrip("\r\n"), newline="")
    try:
        rows = csv.reader(lines, delimiter=parted_by, skipinitialspace=dialect.is_spaced)
        first = [_name(cell) for cell in next(rows, [])]
    except csv.Error as error:
        raise BadDataset(f"{file}, line 1: no row of cells ({error}): {sample[:60]!r}") from error
    if columns and len(first) != len(columns):
        raise BadDataset(
            f"{file}, line 1 has {len(first)} cells ({parted_by.join(first)[:80]!r}) and not {len(columns)}: "
            f"{', '.join(columns)}; use the file as it was published"
        )
    names = list(columns or first)
    repeated = [name for name, times in Counter(names).items() if times > 1 and name]
    if repeated:
        raise BadDataset(
            f"{file}, line 1: the column {repeated[0]!r} is named {names.count(repeated[0])} times; rename one"
        )
    table = _read_rows(text, dialect, names, file, heading=not columns)
    if table.ragged and table.frame.is_empty():
        raise BadDataset(
            f"{file}: each line has more cells than the {len(names)} of the heading, such as {table.examples[0]!r}; "
            "put cells with a delimiter in quotes, or name the delimiter in the mapping"
        )
    kept = [(old, new) for old, new in zip(table.frame.columns, names, strict=True) if new]
    frame, headings = _without_headings(table.frame.select(pl.col(old).alias(new) for old, new in kept))
    blank = pl.all_horizontal(pl.all().is_null() | (pl.all() == ""))
    empty = frame.select(blank.alias("blank")).to_series()
    kept_rows = frame.filter(~empty) if empty.any() else frame  # a filter would copy the table
    return DelimitedTable(kept_rows, parted_by, table.ragged, table.examples, dialect.skipped, headings)


def _without_headings(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return a frame without the marks of order and the headings of parts that were put together, and their number."""
    first = frame.to_series(0)
    if first.str.starts_with(_MARK).any():
        frame = frame.with_columns(first.str.strip_prefix(_MARK))
        first = frame.to_series(0)
    if not (first == first.name).any():
        return frame, 0
    others = frame.select(pl.all_horizontal(pl.col(name).str.strip_chars() == name for name in frame.columns))
    again = others.to_series().fill_null(value=False)
    return frame.filter(~again), int(again.sum())


def _read_rows(text: TextFile, dialect: Dialect, names: list[str], file: Path, *, heading: bool) -> DelimitedTable:
    if not dialect.is_spaced:
        try:
            frame = _read_fast(text, dialect.delimiter, heading=heading)
        except pl.exceptions.PolarsError:  # a stray quote, or a line with too many cells
            pass
        else:
            if any(column.str.contains("\n", literal=True).any() for column in frame.iter_columns()):
                refuse_open_quotes(_lines(text), dialect, len(names), file)
            return DelimitedTable(frame, dialect.delimiter)
    refuse_open_quotes(_lines(text), dialect, len(names), file)
    return _read_exact(text, dialect, names, heading=heading)


def _read_fast(text: TextFile, delimiter: str, *, heading: bool) -> pl.DataFrame:
    source = text.source if isinstance(text.source, bytes) else text.source.absolute()
    return pl.read_csv(source, separator=delimiter, has_header=heading, infer_schema=False, glob=False)


def _read_exact(text: TextFile, dialect: Dialect, names: list[str], *, heading: bool) -> DelimitedTable:
    """Read as Python's csv does, which takes quotes inside of a cell as text; ten times as slow as polars."""
    rows: list[list[str | None]] = []
    ragged = 0
    examples: list[str] = []
    with _lines(text) as lines:
        reader = csv.reader(lines, delimiter=dialect.delimiter, skipinitialspace=dialect.is_spaced)
        if heading:
            next(reader)
        for row in reader:
            while len(row) > len(names) and not row[-1].strip():
                row.pop()  # a delimiter at the end of the line
            if len(row) <= len(names):
                rows.append([*row, *[None] * (len(names) - len(row))])
                continue
            ragged += 1
            if len(examples) < _MAX_EXAMPLES:
                examples.append(f"line {reader.line_num + dialect.skipped}: {dialect.delimiter.join(row)[:100]}")
    frame = pl.DataFrame(rows, schema=[(str(number), pl.String) for number in range(len(names))], orient="row")
    return DelimitedTable(frame, dialect.delimiter, ragged, tuple(examples))


def _name(cell: str) -> str:
    return cell.strip().strip(_MARK).strip()


def _lines(text: TextFile) -> io.TextIOBase:
    if isinstance(text.source, bytes):
        return io.TextIOWrapper(io.BytesIO(text.source), encoding="utf-8-sig", newline="")
    return text.source.open(encoding="utf-8-sig", newline="")

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
from pipeline.data.files.text_files import TextFile

DELIMITERS: Final = (",", ";", "\t", "|", "\x01")
_SAMPLE_BYTES: Final = 1 << 16
_SAMPLE_ROWS: Final = 200
_MAX_EXAMPLES: Final = 3


@dataclass(frozen=True)
class DelimitedTable:
    """A table of delimited text.

    Attributes:
        frame: Its rows, every cell as text; an empty one is null or empty text.
        delimiter: What parts its cells.
        ragged: How many lines had more cells than the heading and were left out.
        examples: Some of those lines, with their numbers.
    """

    frame: pl.DataFrame
    delimiter: str
    ragged: int = 0
    examples: tuple[str, ...] = ()


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
    sample = _sample(text)
    if not sample.strip():
        begin = f"rows of {', '.join(columns)}" if columns else "a line of column names"
        raise BadDataset(f"{file} is empty; it should begin with {begin}")
    parted_by = delimiter or _find_delimiter(sample, file)
    csv.field_size_limit(sys.maxsize)  # 128 KiB otherwise, which a description can have
    try:
        first = [_name(cell) for cell in next(csv.reader(io.StringIO(sample, newline=""), delimiter=parted_by), [])]
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
    try:
        table = DelimitedTable(_read_fast(text, parted_by, heading=not columns), parted_by)
        if any(column.str.contains("\n", literal=True).any() for column in table.frame.iter_columns()):
            _refuse_open_quotes(text, parted_by, file)
    except pl.exceptions.PolarsError:  # a stray quote, or a line with too many cells
        _refuse_open_quotes(text, parted_by, file)
        table = _read_exact(text, parted_by, names, heading=not columns)
    if table.ragged and table.frame.is_empty():
        raise BadDataset(
            f"{file}: each line has more cells than the {len(names)} of the heading, such as {table.examples[0]!r}; "
            "put cells with a delimiter in quotes, or name the delimiter in the mapping"
        )
    kept = [(old, new) for old, new in zip(table.frame.columns, names, strict=True) if new]
    frame = table.frame.select(pl.col(old).alias(new) for old, new in kept)
    blank = pl.all_horizontal(pl.all().is_null() | (pl.all() == ""))
    return DelimitedTable(frame.filter(~blank), parted_by, table.ragged, table.examples)


def _find_delimiter(sample: str, file: Path) -> str:
    scores = {delimiter: _score(sample, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda one: scores[one])
    if scores[best][0]:
        return best
    return "\t" if ".tsv" in file.name.lower() else ","


def _score(sample: str, delimiter: str) -> tuple[float, int]:
    """Return the share of rows with as many cells as the heading, and how many these are; 0 where it is one."""
    lengths: list[int] = []
    try:
        for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            if row:
                lengths.append(len(row))
            if len(lengths) == _SAMPLE_ROWS:
                break
    except csv.Error:
        return 0.0, 0
    if not lengths or lengths[0] == 1:
        return 0.0, 0
    return sum(length == lengths[0] for length in lengths) / len(lengths), lengths[0]


def _read_fast(text: TextFile, delimiter: str, *, heading: bool) -> pl.DataFrame:
    source = text.source if isinstance(text.source, bytes) else text.source.absolute()
    return pl.read_csv(source, separator=delimiter, has_header=heading, infer_schema=False, glob=False)


def _read_exact(text: TextFile, delimiter: str, names: list[str], *, heading: bool) -> DelimitedTable:
    """Read as Python's csv does, which takes quotes inside of a cell as text; ten times as slow as polars."""
    rows: list[list[str | None]] = []
    ragged = 0
    examples: list[str] = []
    with _lines(text) as lines:
        reader = csv.reader(lines, delimiter=delimiter)
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
                examples.append(f"line {reader.line_num}: {delimiter.join(row)[:100]}")
    frame = pl.DataFrame(rows, schema=[(str(number), pl.String) for number in range(len(names))], orient="row")
    return DelimitedTable(frame, delimiter, ragged, tuple(examples))


def _refuse_open_quotes(text: TextFile, delimiter: str, file: Path) -> None:
    """Raise BadDataset if a quote that nothing closes before the end of a cell swallows lines."""
    with _lines(text) as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        begin = 1
        while True:
            try:
                next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if reader.line_num == begin and "unexpected end" not in str(error):  # a stray quote within a line
                    begin = reader.line_num + 1
                    continue
                raise BadDataset(
                    f"{file}, line {begin}: a quote opens and swallows the lines up to {reader.line_num}; close it, or "
                    "double it if it is part of the text"
                ) from error
            begin = reader.line_num + 1


def _name(cell: str) -> str:
    return cell.strip().strip("\ufeff").strip()


def _lines(text: TextFile) -> io.TextIOBase:
    if isinstance(text.source, bytes):
        return io.TextIOWrapper(io.BytesIO(text.source), encoding="utf-8-sig", newline="")
    return text.source.open(encoding="utf-8-sig", newline="")


def _sample(text: TextFile) -> str:
    """Return whole lines from the file's beginning."""
    if isinstance(text.source, bytes):
        head = text.source[:_SAMPLE_BYTES]
    else:
        with text.source.open("rb") as stream:
            head = stream.read(_SAMPLE_BYTES)
    sample = head.decode("utf-8-sig", errors="ignore")
    return (sample if len(head) < _SAMPLE_BYTES else sample.rpartition("\n")[0]).lstrip("\r\n")

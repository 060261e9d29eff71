"""Quotes in delimited text that open and swallow the lines that follow."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.dialects import Dialect

_MIN_ROW_SHARE: Final = 0.8
_MAX_SHAPES: Final = 10_000


class _Lines:
    """Lines of a file, of which those of the current record are kept."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            self.record.append(line)
            yield line


def refuse_open_quotes(stream: io.TextIOBase, dialect: Dialect, width: int, file: Path) -> None:
    """Raise BadDataset if a quote that nothing closes where its cell ends swallows lines, and close the stream.

    Another quote may close it many lines below, which is sound text. It is refused if most of the swallowed lines have
    as many cells as the table and begin with a cell of a form that the first column has.

    Args:
        stream: The text, from its heading.
        dialect: How it is written.
        width: How many columns the table has.
        file: The file, for the message.
    """
    shapes: set[str] = set()
    several: list[tuple[int, list[str]]] = []
    with stream:
        lines = _Lines(stream)
        reader = csv.reader(lines, delimiter=dialect.delimiter, strict=True, skipinitialspace=dialect.is_spaced)
        begin = 1
        while True:
            lines.record.clear()
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                if reader.line_num > begin or "unexpected end" in str(error):  # more than a stray quote within a line
                    raise _refusal(file, begin, reader.line_num, dialect) from error
            else:
                if len(lines.record) > 1:
                    several.append((begin, list(lines.record)))
                elif row and len(shapes) < _MAX_SHAPES:
                    shapes.add(_shape(row[0]))
            begin = reader.line_num + 1
    for first, record in several:
        if _holds_rows(record, dialect.delimiter, width, shapes):
            raise _refusal(file, first, first + len(record) - 1, dialect)


def _holds_rows(record: list[str], delimiter: str, width: int, shapes: set[str]) -> bool:
    """Return whether the lines of one record look like rows of their own."""
    are_rows = [line.count(delimiter) == width - 1 for line in record]
    follow = [_shape(line.partition(delimiter)[0].strip('"')) in shapes for line in record[1:]]
    rows = sum(is_row and fits for is_row, fits in zip(are_rows[1:], follow, strict=True))
    return are_rows[0] and rows >= _MIN_ROW_SHARE * len(follow)


def _shape(cell: str) -> str:
    """Return the form of a cell: runs of digits as 0, of letters as a."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", cell.strip()))


def _refusal(file: Path, begin: int, end: int, dialect: Dialect) -> BadDataset:
    return BadDataset(
        f"{file}, line {begin + dialect.skipped}: a quote opens and swallows the lines up to {end + dialect.skipped}; "
        "close it, or double it if it is part of the text"
    )

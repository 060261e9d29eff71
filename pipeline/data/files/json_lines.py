"""Reading large JSON Lines files, plain or compressed, a few fields of each line.

Lines of one file differ in their fields and types (a price is a number here and text there), which column readers
refuse; so each line is parsed by itself, and a line that is no JSON object is a row that can be counted.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.text_files import open_unpacked

READABLE: Final = "readable"


_ROWS_A_FRAME: Final = 100_000  # strings in polars take a fifth of what they take in Python


Fields = Mapping[str, Any]


Pick = Callable[[Fields], Sequence[Any]]
PickRows = Callable[[Fields], Sequence[Sequence[Any]]]


def read_json_lines(
    file: Path, schema: Mapping[str, pl.DataType | type[pl.DataType]], pick: Pick, needed: Sequence[str]
) -> pl.DataFrame:
    """Read a file line by line.

    Args:
        file: The file; unpacked if its name ends in ``.gz``, ``.zst``, ``.bz2`` or ``.zip``.
        schema: The columns that ``pick`` gives, with their types.
        pick: Makes a row of a line's fields; None for what is missing.
        needed: Fields that the first object must have, so that a file of another kind is refused at once.

    Returns:
        The columns of ``schema`` and ``readable``: false, with all cells empty, where a line is no JSON object.

    Raises:
        BadDataset: The file cannot be read, is cut off, is no JSON Lines, or lacks a needed field.
    """
    return read_json_rows(file, schema, lambda fields: (pick(fields),), needed)


def read_json_rows(
    file: Path, schema: Mapping[str, pl.DataType | type[pl.DataType]], pick: PickRows, needed: Sequence[str]
) -> pl.DataFrame:
    """Read a file line by line, and make any number of rows of each; otherwise as :func:`read_json_lines`."""
    kinds = {**schema, READABLE: pl.Boolean}
    frames = [pl.DataFrame(schema=kinds)]
    rows = _rows(file, len(schema), pick, needed)
    try:
        while part := list(islice(rows, _ROWS_A_FRAME)):
            frames.append(pl.DataFrame(part, kinds, orient="row"))
    except (OSError, EOFError, zlib.error) as error:
        raise BadDataset(f"{file} cannot be read: {error}; is it whole?") from error
    found = pl.concat(frames)
    if found.height and not found[READABLE].any():
        raise BadDataset(f"{file} holds no JSON objects, one a line; name the file as it was published")
    return found


def _rows(file: Path, width: int, pick: PickRows, needed: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    unreadable = (*[None] * width, False)
    unchecked = True
    for line in _lines(file):
        fields = _object(line)
        if fields is not None and unchecked:
            _check_fields(file, fields, needed)
            unchecked = False
        if fields is None:
            yield unreadable
        else:
            yield from ((*row, True) for row in pick(fields))


def _lines(file: Path) -> Iterator[bytes]:
    if file.suffix.lower() == ".gz":
        with gzip.open(file) as stream:
            yield from (line for line in stream if line.strip())
    else:
        with open_unpacked(file) as unpacked:
            lines: Iterator[bytes] = io.BufferedReader(unpacked)  # Arrow's streams have no lines of their own
            yield from (line for line in lines if line.strip())


def _object(line: bytes) -> Fields | None:
    try:
        fields = json.loads(line)
    except ValueError:  # covers text that is no UTF-8
        return None
    return fields if isinstance(fields, dict) else None


def _check_fields(file: Path, fields: Fields, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in fields]
    if missing:
        raise BadDataset(
            f"{file} lacks the field {', '.join(map(repr, missing))}; the first line has {', '.join(fields) or 'none'};"
            " is it of another edition, or another file?"
        )

"""The first rows of a table, to see what it is without reading it whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.delimited import read_delimited
from pipeline.data.files.dialects import sample_of
from pipeline.data.files.file_note import FileNote
from pipeline.data.files.json_tables import read_json_table
from pipeline.data.files.tables import DELIMITED, JSON_LINES, RawTable, is_table, read_raw_table
from pipeline.data.files.text_files import plain_suffix, read_text_file

_MAX_WHOLE_BYTES: Final = 1 << 20  # a smaller file is read whole


def read_head(path: Path) -> RawTable:
    """Read some rows of a file, or of the first part of a folder; errors are those of :func:`read_raw_table`."""
    if path.is_dir():
        parts = sorted(part for part in path.rglob("*") if part.is_file() and is_table(part))
        return read_head(parts[0]) if parts else read_raw_table(path)
    suffix = plain_suffix(path)
    if not path.is_file() or path.stat().st_size < _MAX_WHOLE_BYTES:
        return read_raw_table(path)
    if suffix == ".parquet":
        return RawTable(pl.scan_parquet(path, glob=False).head(1_000).collect(), [FileNote(path, "parquet")])
    return _text_head(path, suffix) if suffix in (*DELIMITED, *JSON_LINES) else read_raw_table(path)


def _text_head(path: Path, suffix: str) -> RawTable:
    text = read_text_file(path)
    note = FileNote(path, suffix[1:], text.encoding)
    sample = sample_of(text)
    try:
        if suffix in JSON_LINES:
            return RawTable(read_json_table(sample, path, lines=True), [note])
        table = read_delimited(replace(text, source=sample.encode()), path)
    except BadDataset:  # the sample may end within a cell
        return read_raw_table(path)
    return RawTable(table.frame, [replace(note, delimiter=table.delimiter)])


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    return sum(part.stat().st_size for part in ([path] if path.is_file() else path.rglob("*")) if part.is_file())

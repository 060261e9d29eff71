"""Tables in files of any kind: what a file holds, how it is written, and the columns that one wants of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import polars as pl

from pipeline.data.dataset.schema import BadDataset, check_columns
from pipeline.data.files.delimited import read_delimited
from pipeline.data.files.excel import read_workbook
from pipeline.data.files.file_note import FileNote
from pipeline.data.files.json_tables import read_json_table
from pipeline.data.files.text_files import COMPRESSIONS, check_one_member, plain_suffix, read_text_file

DELIMITED: Final = (".csv", ".tsv", ".txt")
JSON_LINES: Final = (".jsonl", ".ndjson")
SUFFIXES: Final = (".parquet", *DELIMITED, *JSON_LINES, ".json", ".xlsx")
_HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_PACKED: Final = (*DELIMITED, *JSON_LINES, ".json")  # Parquet and Excel compress what they hold


@dataclass(frozen=True)
class RawTable:
    """A table as it was read: cells of text files and JSON are text, those of Parquet and Excel have their types.

    Attributes:
        frame: The rows.
        notes: How each file of it is written.
    """

    frame: pl.DataFrame
    notes: list[FileNote] = field(default_factory=list)


def is_table(path: Path) -> bool:
    """Return whether a file's name says that it holds a table."""
    suffix = plain_suffix(path)
    packed = path.suffix.lower() in COMPRESSIONS
    known = suffix in (_PACKED if packed else SUFFIXES) or (path.suffix.lower() == ".zip" and not suffix)
    return known and not path.name.startswith((".", "_", "~$"))


def find_tables(folder: Path) -> dict[str, Path]:
    """Return the tables of a folder by name, in lower case and without suffixes; a folder of parts is a table too.

    Raises:
        BadDataset: Two files have one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not any(is_table(part) for part in path.rglob("*") if part.is_file()):
            continue
        if path.is_file() and (not is_table(path) or not _may_be_records(path)):
            continue
        name = path.name.lower() if path.is_dir() else table_name(path)
        if name in found:
            raise BadDataset(
                f"{folder} holds both {found[name].name} and {path.name}; keep one, or name it in a mapping"
            )
        found[name] = path
    return found


def _may_be_records(path: Path) -> bool:
    """Return whether a file is no JSON object: settings and lock files are, tables are lists."""
    if plain_suffix(path) != ".json" or path.suffix.lower() != ".json" or path.stem.lower() in ("items", "events"):
        return True
    with path.open("rb") as stream:
        return stream.read(1_024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def table_name(path: Path) -> str:
    """Return a file's name in lower case, without the suffixes of its kind and its compression."""
    name = path.name.lower()
    for suffix in (*COMPRESSIONS, *SUFFIXES):
        if name.endswith(suffix) and (suffix in COMPRESSIONS or suffix in SUFFIXES):
            name = name.removesuffix(suffix)
    return name


def read_raw_table(path: Path, encoding: str | None = None, delimiter: str | None = None) -> RawTable:
    """Read a file, or a folder of parts, whole.

    Parts are put below one another; folders named ``column=value`` add that column (Hive's partitions).

    Args:
        path: A file whose suffix, one of SUFFIXES in any case, says what it is, packed or not; or a folder of them.
        encoding: Of text, what it is written in; None finds it.
        delimiter: Of delimited text, what parts its cells; None finds it.

    Raises:
        BadDataset: No such file, an unknown suffix, or content that cannot be read.
    """
    if path.is_dir():
        return _read_parts(path, encoding, delimiter)
    if not path.is_file():
        raise BadDataset(f"{path} does not exist or is no file; name the file that holds the table")
    suffix = plain_suffix(path)
    note = FileNote(path, suffix[1:], compression=COMPRESSIONS.get(path.suffix.lower()))
    try:
        if suffix == ".parquet":
            return RawTable(_stripped(_plain_types(pl.read_parquet(path, glob=False))), [note])
        if suffix == ".xlsx":
            sheets = read_workbook(path, infer=True)
            return RawTable(_stripped(sheets.frame), [replace(note, skipped=sheets.skipped)])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadDataset(f"{path} cannot be read as {suffix[1:]}: {str(error).splitlines()[0]}") from error
    if path.suffix.lower() == ".zip" and not suffix:
        check_one_member(path)
    if suffix not in _PACKED:
        raise BadDataset(f"{path} is of an unknown kind; its suffix must be one of {', '.join(SUFFIXES)}")
    text = read_text_file(path, encoding)
    note = replace(
        note, encoding=text.encoding, is_declared=encoding is not None, replaced=text.replaced, example=text.example
    )
    if suffix in DELIMITED:
        table = read_delimited(text, path, delimiter)
        note = replace(
            note,
            delimiter=table.delimiter,
            ragged=table.ragged,
            examples=table.examples,
            skipped=table.skipped,
            headings=table.headings,
        )
        return RawTable(table.frame, [note])
    data = text.source if isinstance(text.source, bytes) else text.source.read_bytes()
    return RawTable(_stripped(read_json_table(data.decode("utf-8-sig"), path, lines=suffix in JSON_LINES)), [note])


def read_table(
    file: Path, columns: Mapping[str, str], *, infer: bool = True, separator: str | None = None
) -> pl.DataFrame:
    """Read the columns of a table.

    Args:
        file: A file whose suffix, one of SUFFIXES, says what it is.
        columns: For each column wanted its name in the file.
        infer: Whether columns of numbers in text become numbers; ids are better read without.
        separator: What parts the cells of delimited text; None finds it.

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


def only_table(path: Path) -> Path:
    """Return ``path``, or the one table in that folder; raises BadDataset if there is none or more than one."""
    if not path.is_dir():
        return path
    found = sorted(file for file in path.iterdir() if file.is_file() and is_table(file))
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise BadDataset(f"{path} should hold one table ({', '.join(SUFFIXES)}); found {names}; name the file itself")
    return found[0]


def read_all_columns(file: Path, *, infer: bool, separator: str | None = None) -> pl.DataFrame:
    """Read every column of a table; arguments and errors are those of :func:`read_table`.

    Parquet and, with ``infer``, JSON Lines have the types of their cells, lists among them.
    """
    suffix = plain_suffix(file)
    if suffix == ".xlsx" and file.is_file():
        return read_workbook(file, infer=infer).frame
    if file.is_file() and (suffix == ".parquet" or (infer and file.suffix.lower() in JSON_LINES)):
        try:
            return (
                pl.read_parquet(file, glob=False)
                if suffix == ".parquet"
                else pl.read_ndjson(file, infer_schema_length=None)
            )
        except (pl.exceptions.PolarsError, OSError) as error:
            raise BadDataset(f"{file} cannot be read as {suffix[1:]}: {str(error).splitlines()[0]}") from error
    frame = read_raw_table(file, delimiter=separator).frame
    return pl.DataFrame([infer_numbers(column) for column in frame.iter_columns()]) if infer else frame


def infer_numbers(column: pl.Series) -> pl.Series:
    """Return text as numbers if every cell is a plain one; 007 is none, since article numbers are text."""
    if column.dtype != pl.String:
        return column
    cells = column.str.strip_chars()
    cells = cells.set(cells == "", None)
    filled = cells.drop_nulls()
    if filled.is_empty() or not filled.str.contains(r"^-?(?:0|[1-9]\d{0,17})(?:\.\d+)?(?:[eE][-+]?\d{1,2})?$").all():
        return cells
    return cells.cast(pl.Float64 if filled.str.contains(r"[.eE]").any() else pl.Int64)


def _read_parts(folder: Path, encoding: str | None, delimiter: str | None) -> RawTable:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and is_table(path))
    if not files:
        raise BadDataset(f"{folder} holds no table; its parts should end in one of {', '.join(SUFFIXES)}")
    tables = [read_raw_table(file, encoding, delimiter) for file in files]
    frames = [
        _with_partitions(table.frame, file.relative_to(folder)) for table, file in zip(tables, files, strict=True)
    ]
    for file, table in zip(files, tables, strict=True):
        if not set(table.frame.columns) & set(tables[0].frame.columns):
            raise BadDataset(
                f"{file}, line 1: no column is one of {files[0].name} ({', '.join(table.frame.columns)[:80]!r}); begin "
                f"each part with {', '.join(tables[0].frame.columns)}"
            )
    try:
        whole = pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise BadDataset(f"{folder}: its parts do not fit together: {str(error).splitlines()[0]}") from error
    return RawTable(whole, [note for table in tables for note in table.notes])


def _with_partitions(frame: pl.DataFrame, place: Path) -> pl.DataFrame:
    pairs = [part.split("=", 1) for part in place.parts[:-1] if "=" in part]
    given = {name: unquote(value) for name, value in pairs if name not in frame.columns}
    cells = {name: None if value == _HIVE_NULL else value for name, value in given.items()}
    return frame.with_columns(pl.lit(cell, dtype=pl.String).alias(name) for name, cell in cells.items())


def _stripped(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame without space around names of columns, unless two would have one name."""
    names = [name.strip() for name in frame.columns]
    return frame.rename(dict(zip(frame.columns, names, strict=True))) if len(set(names)) == len(names) else frame


def _plain_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame without types that only files know: decimals, categories, bytes and nested values.

    The fields of a struct are columns of their own, such as `user.id`, unless one has that name.
    """
    columns = [part for column in frame.iter_columns() for part in _fields(column, frame.columns)]
    return pl.DataFrame([_plain_type(column) for column in columns])


def _fields(column: pl.Series, taken: Collection[str]) -> list[pl.Series]:
    if not isinstance(column.dtype, pl.Struct) or not column.dtype.fields:
        return [column]
    fields = column.struct.unnest().rename(lambda name: f"{column.name}.{name}")
    if set(fields.columns) & set(taken):
        return [column]
    return [part for field in fields.iter_columns() for part in _fields(field, taken)]


def _plain_type(column: pl.Series) -> pl.Series:
    kind = column.dtype
    if isinstance(kind, pl.Decimal):
        long = kind.scale == 0 and kind.precision > sys.float_info.dig  # such as ids
        return column.cast(pl.String if long else pl.Float64)
    if isinstance(kind, (pl.Categorical, pl.Enum)) or kind == pl.Time:
        return column.cast(pl.String)
    if kind == pl.Binary:
        return pl.Series(column.name, [None if cell is None else cell.decode(errors="replace") for cell in column])
    if kind.is_nested():
        cells = [
            None if cell is None else json.dumps(cell, ensure_ascii=False, default=str) for cell in column.to_list()
        ]
        return pl.Series(column.name, cells, dtype=pl.String)
    return column

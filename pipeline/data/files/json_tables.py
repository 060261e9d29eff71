"""Tables in JSON files: a list of objects, or one object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.data.dataset.schema import BadDataset

# Keys of a JSON object that may hold its table.
_RECORD_KEYS: Final = ("items", "products", "orders", "events", "data", "records", "results")


def read_json_table(text: str, file: Path, *, lines: bool) -> pl.DataFrame:
    """Return the objects of a JSON file as rows of text, numbers as they are written.

    The fields of an object in a cell are columns of their own: `{"user": {"id": 7}}` has the column `user.id`.

    Args:
        text: What the file holds: a list of objects, an object with one under a usual key, or objects one a line.
        file: The file, for messages.
        lines: Whether the file has one object a line.

    Raises:
        BadDataset: The text is no JSON, or holds no objects.
    """
    rows = [_flat(row) for row in (_json_lines(text, file) if lines else _json_rows(text, file))]
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise BadDataset(f"{file} holds no JSON objects; it should be a list of them, or one a line")
    return pl.DataFrame(
        {name: [_cell(row.get(name)) for row in rows] for name in names}, schema=dict.fromkeys(names, pl.String)
    )


def _json_lines(text: str, file: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.append(_object(_parsed(line, file, number), file, number))
    return rows


def _json_rows(text: str, file: Path) -> Sequence[dict[str, Any]]:
    try:
        whole = _parsed(text, file, None)
    except BadDataset:
        if text.lstrip().startswith("["):
            raise
        return _json_lines(text, file)  # one object a line under the other suffix
    if isinstance(whole, dict):
        whole = _records(whole)
    if not isinstance(whole, list):
        raise BadDataset(f"{file} holds {type(whole).__name__}; it should be a list of objects")
    return [_object(row, file, number) for number, row in enumerate(whole, 1)]


def _records(whole: dict[str, Any]) -> list[Any]:
    """Return the rows of an object: a list of objects under a usual key, lists as columns, or the object itself."""
    listed: list[Any] | None = next((whole[key] for key in _RECORD_KEYS if isinstance(whole.get(key), list)), None)
    if listed is not None:
        return listed
    lengths = {len(column) if isinstance(column, list) else None for column in whole.values()}
    if len(lengths) == 1 and None not in lengths:
        return [dict(zip(whole, cells, strict=True)) for cells in zip(*whole.values(), strict=True)]
    return [whole]


def _parsed(text: str, file: Path, line: int | None) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        place = f"{file}, line {line}" if line else str(file)
        raise BadDataset(f"{place}: no JSON ({error}): {text[:60]!r}") from error


def _object(row: object, file: Path, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise BadDataset(f"{file}, row {number}: {str(row)[:60]!r} is no object with the columns' names as keys")
    return row


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose cells are no objects with fields, unless a column has the name that a field would get."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        fields = {f"{name}.{inner}": cell for inner, cell in value.items()} if isinstance(value, dict) else {}
        if fields and not fields.keys() & row.keys():
            flat.update(_flat(fields))
        else:
            flat[name] = value
    return flat


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):  # half of a pair, as JSON can escape it, is no character
        return value.encode(errors="replace").decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)

"""Files of GA4's export to BigQuery, nested or flat, as one row for each item of each event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.data.adapters.shops.exports import find_kind, first_of, heading
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.json_lines import READABLE, Fields, read_json_rows
from pipeline.data.files.tables import is_table, read_raw_table
from pipeline.data.files.text_files import open_unpacked, plain_suffix

HEADINGS: Final = {"events": ({"event_name", "event_timestamp"},)}
_JSON: Final = (".json", ".jsonl", ".ndjson")
_EVENT: Final = ("event_name", "event_timestamp", "user_pseudo_id", "user_id", "session", "transaction")
CATEGORIES: Final = ("item_category", *(f"item_category{level}" for level in range(2, 6)))
_ITEM: Final = ("item_id", "item_name", "item_brand", "item_variant", *CATEGORIES, "price", "quantity")
_HEAD_BYTES: Final = 1 << 16
_SESSION: Final = "ga_session_id"
_SCHEMA: Final = dict.fromkeys((*_EVENT, *_ITEM), pl.String())
_NO_ITEM: Final = (None,) * len(_ITEM)


def read_events(data: Path) -> tuple[pl.DataFrame, list[str]]:
    """Return the rows of every export at a path, with what was not read.

    Returns:
        Columns of event and item as text, and `readable`, false for lines that are no JSON. An event without items has
        one row.

    Raises:
        BadDataset: Nothing is at the path, or nothing there is an export of events.
    """
    frames: list[pl.DataFrame] = []
    failed: list[BadDataset] = []
    for file in _files(data):
        try:
            frames.append(_read(file))
        except BadDataset as error:
            failed.append(error)
    if not frames and failed:
        raise failed[0]
    if not frames:
        raise BadDataset(f"{data} holds no table; name the folder with the export (.jsonl, .parquet or .csv)")
    return pl.concat(frames, how="diagonal"), [f"A file was not read: {error}." for error in failed]


def is_json_export(file: Path) -> bool:
    """Return whether a file of JSON, packed or not, begins with such an event."""
    if plain_suffix(file) not in _JSON or not file.is_file():
        return False
    with open_unpacked(file) as stream:
        head: bytes = stream.read(_HEAD_BYTES)
    return all(f'"{name}"'.encode() in head for name in ("event_name", "event_timestamp"))


def _files(data: Path) -> list[Path]:
    if not data.exists():
        raise BadDataset(f"{data} does not exist; name the folder with the export of events")
    return sorted(file for file in data.rglob("*") if file.is_file() and is_table(file)) if data.is_dir() else [data]


def _read(file: Path) -> pl.DataFrame:
    if plain_suffix(file) in _JSON and not _is_list(file):
        return read_json_rows(file, _SCHEMA, _rows, ("event_name", "event_timestamp"))
    if plain_suffix(file) == ".parquet":
        return _nested(file)
    raw = read_raw_table(file).frame
    if find_kind(raw.columns, HEADINGS) is None:
        raise BadDataset(
            f"{file} is no export of events: it lacks event_name or event_timestamp among {', '.join(raw.columns)}"
        )
    return _flat(raw.rename({name: heading(name) for name in raw.columns}))


def _is_list(file: Path) -> bool:
    with open_unpacked(file) as stream:
        head: bytes = stream.read(1_024)
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _rows(fields: Fields) -> list[tuple[Any, ...]]:
    """Return a row for each item of an event, or one without an item."""
    ecommerce = fields.get("ecommerce")
    transaction = ecommerce.get("transaction_id") if isinstance(ecommerce, dict) else None
    named = [_text(fields.get(name)) for name in _EVENT[:4]]
    event = (*named, _session(fields.get("event_params")), _text(transaction))
    items = fields.get("items")
    records = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return [(*event, *(_text(item.get(name)) for name in _ITEM)) for item in records] or [(*event, *_NO_ITEM)]


def _session(parameters: object) -> str | None:
    """Return the number of the session, from the event's parameters: a list of keys and typed values."""
    for one in parameters if isinstance(parameters, list) else []:
        if isinstance(one, dict) and one.get("key") == _SESSION and isinstance(one.get("value"), dict):
            value: Mapping[str, Any] = one["value"]
            return _text(value.get("int_value") or value.get("string_value"))
    return None


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return None if isinstance(value, (dict, list)) else str(value)


def _nested(file: Path) -> pl.DataFrame:
    try:
        schema = pl.read_parquet_schema(file)
        if find_kind(list(schema), HEADINGS) is None:
            raise BadDataset(f"{file} is no export of events: it lacks event_name or event_timestamp")
        kept = [name for name in (*_EVENT, _SESSION, "event_params", "ecommerce", "items", *_ITEM) if name in schema]
        frame = pl.read_parquet(file, columns=kept, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadDataset(f"{file} cannot be read as parquet: {str(error).splitlines()[0]}") from error
    items = schema.get("items")
    if not isinstance(items, pl.List):
        return _flat(frame.drop("event_params", "ecommerce", strict=False))
    struct = items.inner
    if not isinstance(struct, pl.Struct):
        raise BadDataset(f"{file}: the column 'items' is a list of {struct}; it should be one of records")
    given = {field.name for field in struct.fields}
    fields = [
        (pl.element().struct.field(name) if name in given else pl.lit(None)).cast(pl.String).alias(name)
        for name in _ITEM
    ]
    read = frame.select(
        *(_column(frame, name) for name in _EVENT[:4]),
        _parquet_session(frame).alias("session"),
        _parquet_transaction(frame).alias("transaction"),
        pl.col("items").list.eval(pl.struct(fields)),
        pl.lit(value=True).alias(READABLE),
    )
    some = pl.when(pl.col("items").list.len() > 0).then("items")  # so that an event without items keeps a row
    return read.with_columns(some).explode("items").unnest("items")


def _column(frame: pl.DataFrame, name: str) -> pl.Expr:
    return (pl.col(name) if name in frame.columns else pl.lit(None)).cast(pl.String).alias(name)


def _parquet_session(frame: pl.DataFrame) -> pl.Expr:
    if not isinstance(frame.schema.get("event_params"), pl.List):
        return _column(frame, _SESSION)
    of_session = pl.element().filter(pl.element().struct.field("key") == _SESSION)
    number = of_session.struct.field("value").struct.field("int_value")
    return pl.col("event_params").list.eval(number).list.first().cast(pl.String)


def _parquet_transaction(frame: pl.DataFrame) -> pl.Expr:
    if not isinstance(frame.schema.get("ecommerce"), pl.Struct):
        return pl.lit(None, dtype=pl.String)
    return pl.col("ecommerce").struct.field("transaction_id").cast(pl.String)


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose items are columns (`item_id`, `items.item_id` or `items_item_id`) or JSON in one column."""
    if "items" in frame.columns:
        return _from_cells(frame)
    named = {
        **{name: (name,) for name in _EVENT[:4]},
        "session": (_SESSION, "session_id"),
        "transaction": ("transaction_id", "ecommerce.transaction_id", "ecommerce_transaction_id"),
        **{name: (name, f"items.{name}", f"items_{name}") for name in _ITEM},
    }
    columns = (first_of(frame, *theirs).cast(pl.String).alias(ours) for ours, theirs in named.items())
    return frame.select(columns).with_columns(pl.lit(value=True).alias(READABLE))


def _from_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose lists and records are JSON in cells."""
    rows: list[tuple[Any, ...]] = []
    for row in frame.iter_rows(named=True):
        fields = {**row, **{name: _parsed(row.get(name)) for name in ("event_params", "ecommerce", "items")}}
        fields["event_params"] = fields["event_params"] or [_parameter(row.get(_SESSION))]
        fields["ecommerce"] = fields["ecommerce"] or {
            "transaction_id": row.get("transaction_id") or row.get("ecommerce.transaction_id")
        }
        rows += [(*one, True) for one in _rows(fields)]
    return pl.DataFrame(rows, {**_SCHEMA, READABLE: pl.Boolean}, orient="row")


def _parameter(session: object) -> dict[str, Any]:
    return {"key": _SESSION, "value": {"string_value": session}}


def _parsed(cell: str | None) -> object:
    try:
        return json.loads(cell or "null")
    except ValueError:
        return None

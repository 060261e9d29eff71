"""Any shop's own tables: CSV, Parquet or JSON Lines, by a column mapping.

``data`` is a folder with tables named ``items``, ``events`` and, if there are any, ``judgements``, with a dataset's
own column names; or a TOML file that names the tables and maps their columns (ours = theirs)::

    licence = "ours"

    [items]
    file = "products.csv"
    columns = { item_id = "sku", title = "name", brand = "maker" }

    [events]
    file = "orders.jsonl"
    columns = { user_id = "customer", item_id = "sku", timestamp = "ordered_at" }
    event = "purchase"    # where no column says what happened
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.dataset.schema import EVENTS, ITEMS, JUDGEMENTS, BadDataset, TableSpec, check_columns
from pipeline.data.ingest.row_filter import RowFilter, filter_judgements, no_events, refuse_empty
from pipeline.data.ingest.tables import SUFFIXES, read_columns, read_table, times_of


class TableMapping(BaseModel):
    """Where one table lies and what its columns are called.

    Attributes:
        file: The table's file, relative to the description; its suffix says what it is.
        columns: Our column's name to theirs; None takes every column under its own name.
        event: Of events, what happened, where no column says it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    columns: dict[str, str] | None = None
    event: str | None = None


class Description(BaseModel):
    """The tables of a shop. Without events a release knows the items' texts alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: TableMapping
    events: TableMapping | None = None
    judgements: TableMapping | None = None
    licence: str = "not stated"


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset of the tables that ``data``, a folder or a TOML description, names.

    Raises:
        BadDataset: The description, a file or a needed column is missing or wrong, or no row of a table is usable.
    """
    description, root = _describe(data)
    progress("reading items")
    items = _clean_items(_read(root, description.items, ITEMS))
    tables = {"items": items}
    progress("reading events")
    events = no_events() if description.events is None else _read(root, description.events, EVENTS)
    tables["events"] = _clean_events(events, items.frame)
    if description.judgements is not None:
        progress("reading judgements")
        tables["judgements"] = filter_judgements(_read(root, description.judgements, JUDGEMENTS), items.frame)
    for name, table in tables.items():
        refuse_empty(table, f"{data}: {name}")
    report = DataReport(
        source=ADAPTER.name,
        licence=description.licence,
        tables={name: table.report() for name, table in tables.items()},
    )
    judgements = tables["judgements"].frame if "judgements" in tables else None
    return Dataset(items.frame, tables["events"].frame, judgements, report)


def _describe(data: Path) -> tuple[Description, Path]:
    if data.is_dir():
        found = {name: _named(data, name) for name in ("items", "events", "judgements")}
        if found["items"] is None:
            kinds = ", ".join(f"items{suffix}" for suffix in SUFFIXES)
            raise BadDataset(f"{data} holds none of {kinds}; add one, or name a TOML description of your tables")
        return Description.model_validate({name: {"file": file} for name, file in found.items() if file}), data
    try:
        return Description.model_validate(tomllib.loads(data.read_text())), data.parent
    except FileNotFoundError:
        raise BadDataset(f"{data} does not exist; name a folder of tables or a TOML description of them") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise BadDataset(f"{data} is no description of tables: {error}") from error


def _named(folder: Path, name: str) -> str | None:
    return next((name + suffix for suffix in SUFFIXES if (folder / (name + suffix)).is_file()), None)


def _read(root: Path, mapping: TableMapping, table: TableSpec) -> pl.DataFrame:
    file = root / mapping.file
    columns = mapping.columns or {name: name for name in read_columns(file)}
    given = {"event"} if mapping.event else set()
    missing = sorted(set(table.needed) - set(columns) - given)
    if mapping.columns is not None and missing:
        raise BadDataset(
            f"{mapping.file}: the mapping of {table.name} lacks {', '.join(missing)}; say what they call it"
        )
    frame = read_table(file, columns)
    if mapping.event and table is EVENTS:
        frame = frame.with_columns(pl.lit(mapping.event).alias("event"))
    check_columns(frame, table.needed, str(file))
    return _with_types(frame, {**table.needed, **table.optional}, file)


def _with_types(frame: pl.DataFrame, kinds: Mapping[str, pl.DataType], file: Path) -> pl.DataFrame:
    """Return the columns as what they mean: numbers may be ids, text may be a time; other text is left to the check."""
    columns = []
    for column in frame.iter_columns():
        kind = kinds.get(column.name)
        if kind == pl.String and not column.dtype.is_nested():
            columns.append(_as_text(column))
        elif isinstance(kind, pl.Datetime):
            columns.append(times_of(column))
        elif kind == pl.Float64 and column.dtype == pl.String:
            raise BadDataset(
                f"{file}: the column {column.name!r} should hold numbers, it holds text such as {column[0]!r}"
            )
        else:
            columns.append(column)
    return pl.DataFrame(columns)


def _as_text(column: pl.Series) -> pl.Series:
    """Return trimmed text, null where blank; 17850.0, an id that an empty cell made a fraction, is 17850."""
    if column.dtype.is_float() and (column.drop_nulls() % 1 == 0).all():
        column = column.cast(pl.Int64)
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _clean_items(frame: pl.DataFrame) -> RowFilter:
    items = RowFilter(frame)
    items.drop("no_id", "The item has no id.", pl.col("item_id").is_null())
    items.drop("no_title", "The item has no title.", pl.col("title").is_null())
    items.drop(
        "repeated_id", "An item with this id came before; the first one stays.", ~pl.col("item_id").is_first_distinct()
    )
    if "price" in frame.columns:
        why = "The price is negative or no number."
        items.drop("impossible_price", why, (pl.col("price") < 0) | ~pl.col("price").cast(pl.Float64).is_finite())
    return items


def _clean_events(frame: pl.DataFrame, items: pl.DataFrame) -> RowFilter:
    events = RowFilter(frame)
    missing = pl.any_horizontal(pl.col("user_id", "item_id", "event").is_null())
    events.drop("incomplete", "User, item or kind of event is missing.", missing)
    for order in ("timestamp", "position"):
        if order in frame.columns:
            events.drop(f"no_{order}", f"The {order} is missing or unreadable.", pl.col(order).is_null())
    events.drop(
        "unknown_item", "The item is not among the items.", ~pl.col("item_id").is_in(items["item_id"].implode())
    )
    if "quantity" in frame.columns:
        events.drop("no_quantity", "A quantity of zero or less is no purchase.", pl.col("quantity") <= 0)
    if "event_id" in frame.columns:
        again = ~pl.col("event_id").is_first_distinct() & pl.col("event_id").is_not_null()
        events.drop("repeated_id", "An event with this id came before.", again)
    events.drop(
        "repeated_row", "An event equal in every column came before.", ~pl.struct(frame.columns).is_first_distinct()
    )
    return events


ADAPTER: Final = Adapter(
    name="table",
    description="Your own tables: a folder with items and events as CSV, Parquet or JSON Lines, or a TOML mapping",
    licence="as the description states",
    prepare=prepare,
)

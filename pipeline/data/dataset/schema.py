"""What the tables of a dataset hold, and the checks that data meets before it is one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from common.errors import ShortlistError

_SHOWN: Final = 3


class BadDataset(ShortlistError):  # noqa: N818 - named for what it is, as its siblings are
    """Data that cannot be used as it is; the message names the file, the column and what to do."""

    status = "FAILED_PRECONDITION"


Columns = Mapping[str, pl.DataType]


@dataclass(frozen=True)
class TableSpec:
    """What a table of a dataset holds.

    Attributes:
        name: The table's name, which is the file's name without its suffix.
        needed: Columns that must be there, without an empty cell.
        optional: Columns with a fixed meaning that may be missing, and may have empty cells.
        order: Columns that rows are sorted by, as far as they are there.
    """

    name: str
    needed: Columns
    optional: Columns
    order: tuple[str, ...]

    @property
    def file(self) -> str:
        """The table's file in a dataset's folder."""
        return f"{self.name}.parquet"


_TEXT: Final = pl.String()


_NUMBER: Final = pl.Float64()


TIMESTAMP: Final = pl.Datetime("us")


ITEMS: Final = TableSpec(
    "items",
    {"item_id": _TEXT, "title": _TEXT},
    {
        "brand": _TEXT,
        "category": _TEXT,
        "description": _TEXT,
        "price": _NUMBER,
        "language": _TEXT,
        "available": pl.Boolean(),
    },
    ("item_id",),
)


# `timestamp` is UTC, or local time if the data has no zone; `position` counts a user's events where only
# their order is known. `known_user` is false if the data names no user and user_id is one visit. `event_weight` is
# what an event counts against others of its kind; empty is 1.
EVENTS: Final = TableSpec(
    "events",
    {"user_id": _TEXT, "item_id": _TEXT, "event": _TEXT},
    {
        "timestamp": TIMESTAMP,
        "position": pl.Int64(),
        "value": _NUMBER,
        "quantity": _NUMBER,
        "event_id": _TEXT,
        "session_id": _TEXT,
        "known_user": pl.Boolean(),
        "event_weight": _NUMBER,
    },
    ("user_id", "timestamp", "position", "event_id", "item_id", "event"),
)


JUDGEMENTS: Final = TableSpec(
    "judgements",
    {"query": _TEXT, "item_id": _TEXT, "relevance": _NUMBER},
    {"split": _TEXT},
    ("query", "item_id", "split"),
)


TABLES: Final = {table.name: table for table in (ITEMS, EVENTS, JUDGEMENTS)}


def check_columns(frame: pl.DataFrame, needed: Collection[str], file: str) -> None:
    """Raise BadDataset naming each missing column, the file, and the columns found."""
    missing = sorted(set(needed) - set(frame.columns))
    if missing:
        names = ", ".join(repr(column) for column in missing)
        raise BadDataset(f"{file} lacks the column {names}; the columns found are {', '.join(frame.columns) or 'none'}")


def checked(frame: pl.DataFrame, table: TableSpec) -> pl.DataFrame:
    """Return a table in the types of its columns' meaning; raises BadDataset naming file and column."""
    check_columns(frame, table.needed, table.file)
    if table is EVENTS and not {"timestamp", "position"} & set(frame.columns):
        check_columns(frame, {"timestamp"}, table.file)
    typed = frame.with_columns(_typed(column, table) for column in frame.iter_columns())
    for column in typed.iter_columns():
        _check_values(column, table)
    return typed


def _typed(column: pl.Series, table: TableSpec) -> pl.Series:
    """Return a column in the type of its meaning; only widening is done, so that no value is lost or made up."""
    wanted = {**table.needed, **table.optional}.get(column.name)
    found = column.dtype
    if isinstance(found, pl.Datetime) and wanted == TIMESTAMP:
        return as_utc(column)
    if wanted is None and (found in (pl.String, pl.Boolean) or found.is_numeric()):
        return column
    if wanted is not None and (found in (wanted, pl.Null) or _widens(found, wanted)):
        return column.cast(wanted)
    kinds = wanted or "a string, a number or a boolean"
    raise BadDataset(
        f"{table.file}: the column {column.name!r} is of type {found}, it must be {kinds}; convert it first"
    )


def as_utc(column: pl.Series) -> pl.Series:
    """Return times as microseconds without zone; those with a zone become UTC."""
    zone = column.dtype.time_zone if isinstance(column.dtype, pl.Datetime) else None
    return (column.dt.convert_time_zone("UTC") if zone else column).dt.replace_time_zone(None).cast(TIMESTAMP)


def _widens(found: pl.DataType, wanted: pl.DataType) -> bool:
    return found.is_integer() if wanted.is_integer() else wanted.is_numeric() and found.is_numeric()


def _check_values(column: pl.Series, table: TableSpec) -> None:
    needed = column.name in table.needed or (table is EVENTS and column.name in ("timestamp", "position"))
    empty = column.null_count()
    if column.dtype == pl.String and column.name in table.needed:
        empty += int((column.str.strip_chars() == "").sum())
    if needed and empty:
        raise BadDataset(
            f"{table.file}: the column {column.name!r} is empty in {empty:,} rows; drop or fill them first"
        )
    if column.dtype.is_float() and not column.drop_nulls().is_finite().all():
        raise BadDataset(f"{table.file}: the column {column.name!r} holds NaN or infinity; leave such cells empty")
    if column.name in ("price", "relevance", "event_weight") and (column < 0).any():
        raise BadDataset(f"{table.file}: the column {column.name!r} holds negative numbers; drop those rows first")


def with_optional(frame: pl.DataFrame, table: TableSpec) -> pl.DataFrame:
    """Return a table with every optional column of its kind, null if the data has no value."""
    missing = {name: kind for name, kind in table.optional.items() if name not in frame.columns}
    return frame.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in missing.items())


def canonical(frame: pl.DataFrame, table: TableSpec) -> pl.DataFrame:
    """Return a table with columns and rows in canonical order."""
    known = [name for name in (*table.needed, *table.optional) if name in frame.columns]
    further = sorted(set(frame.columns) - set(known))
    columns = [*known, *further]
    order = [name for name in table.order if name in columns]
    keys = frame.select(_sort_key(frame[name]) for name in [*order, *(name for name in columns if name not in order)])
    places = keys.select(pl.arg_sort_by(keys.columns).alias("place")).to_series()
    del keys
    left = frame.select(columns).get_columns()
    del frame
    ordered = []
    while left:  # a column at a time, so that a table of millions of events is not held twice
        ordered.append(left.pop(0).gather(places))
    return pl.DataFrame(ordered)


def _sort_key(column: pl.Series) -> pl.Series:
    """Return a column that sorts alike: repeated texts by the rank of each, which takes a fraction of the memory."""
    if column.dtype != pl.String:
        return column
    texts = column.drop_nulls().unique()
    if len(texts) > len(column) // 2:
        return column
    return column.cast(pl.Enum(texts.sort())).to_physical()


def check_unique(frame: pl.DataFrame, column: str, table: TableSpec) -> None:
    """Raise BadDataset where a value of ``column``, if the table has it, occurs twice."""
    if column not in frame.columns:
        return
    ids = frame[column].drop_nulls()
    if ids.n_unique() == len(ids):
        return
    twice = ids.filter(ids.is_duplicated()).unique().sort()
    raise BadDataset(f"{table.file}: {len(twice):,} values of {column!r} occur more than once, such as {_shown(twice)}")


def check_items_known(frame: pl.DataFrame, items: pl.DataFrame, table: TableSpec) -> None:
    """Raise BadDataset where a table names an item that ``items`` lacks."""
    named = frame["item_id"].unique()
    unknown = named.filter(~named.is_in(items["item_id"].implode())).sort()
    if len(unknown):
        raise BadDataset(
            f"{table.file} names {len(unknown):,} items that {ITEMS.file} lacks, such as {_shown(unknown)}; "
            "add the items or drop the rows"
        )


def _shown(values: pl.Series) -> str:
    return ", ".join(repr(value) for value in values.head(_SHOWN))

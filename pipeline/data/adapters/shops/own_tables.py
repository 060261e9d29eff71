"""Any shop's own tables, as files of any kind, by the names of their columns or a mapping.

``data`` is a folder with tables named ``items``, ``events`` and, if there are any, ``judgements``, with a dataset's
own column names; or a TOML file that names the tables and maps their columns (ours = theirs)::

    licence = "ours"

    [items]
    file = "products.csv"
    columns = { item_id = "sku", title = "name", brand = "maker" }

    [events]
    file = "orders.jsonl"
    columns = { user_id = "customer", item_id = "sku", timestamp = "ordered_at" }
    event = "purchase"    # if no column says what happened
    weights = { view = 0.1 }    # of a kind of event, a purchase being 1

Encoding, delimiter, decimal mark and the order of day and month are found; each can be set for a table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from common.errors import InvalidRequest
from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import REPORT, Dataset
from pipeline.data.dataset.event_kinds import check_weights
from pipeline.data.dataset.report import DataReport
from pipeline.data.dataset.schema import EVENTS, ITEMS, JUDGEMENTS, BadDataset, TableSpec, check_columns
from pipeline.data.files.tables import SUFFIXES, find_tables, read_raw_table
from pipeline.data.ingest.events import clean_events
from pipeline.data.ingest.items import clean_items
from pipeline.data.ingest.roles import plain_name
from pipeline.data.ingest.row_filter import (
    MAX_BAD_SHARE,
    RowFilter,
    filter_judgements,
    no_events,
    refuse_empty,
    refuse_unreadable,
)
from pipeline.data.ingest.times import DayOrder
from pipeline.data.ingest.users import MAX_DAILY_EVENTS
from pipeline.data.ingest.values import DecimalMark, as_ids, as_text, read_numbers


class TableMapping(BaseModel):
    """Where one table is and how it is written.

    Attributes:
        file: The table's file or folder of parts, relative to the description; its suffix says what it is.
        columns: Our column's name to theirs; None takes every column under its own name.
        event: Of events, what happened, if no column says it.
        encoding: Of text, such as utf-8, cp1252 or gb18030; None finds it.
        delimiter: Of delimited text; None finds it.
        decimal_mark: What parts whole numbers from fractions; `auto` finds it for each column.
        day_order: Which of day and month comes first; `auto` finds it for each column.
        max_daily_events: Of events, how many of one kind a user has on one day at most; the latest count.
        weights: Of events, what an event of a kind counts against a purchase, such as ``{ view = 0.1 }``; learned for
            the kinds that are not named.
        nobody: Of events, the ids of users who are no person, such as guest; None finds them.
        max_bad_share: Of how many of a column's cells at most may be unreadable; more is a mistake of the mapping.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    columns: dict[str, str] | None = None
    event: str | None = None
    encoding: str | None = None
    delimiter: str | None = Field(default=None, pattern=r'^[^"\r\n\x80-\U0010ffff]$')
    decimal_mark: DecimalMark = "auto"
    day_order: DayOrder = "auto"
    max_daily_events: int = Field(default=MAX_DAILY_EVENTS, ge=1)
    weights: dict[str, float] = {}
    nobody: tuple[str, ...] | None = None
    max_bad_share: float = Field(default=MAX_BAD_SHARE, ge=0, le=1)

    @field_validator("weights")
    @classmethod
    def _known_kinds(cls, weights: dict[str, float]) -> dict[str, float]:
        try:
            check_weights(weights)
        except InvalidRequest as error:
            raise ValueError(str(error)) from error
        return weights


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
        BadDataset: The description, a file or a needed column is missing or wrong, most cells of a column cannot be
            read, or no row of a table is usable.
    """
    description, root, notes = _describe(data)
    return dataset_of(description, root, notes, progress)


def dataset_of(description: Description, root: Path, notes: list[str], progress: Progress) -> Dataset:
    """Make a dataset of the tables that a description names.

    Args:
        description: The tables and their columns.
        root: The folder that files are named from.
        notes: Sentences for the report; those on how files are written are added.
        progress: Told the name of each step.

    Raises:
        BadDataset: As `prepare`.
    """
    progress("reading items")
    frame = _read(root, description.items, ITEMS, notes)
    items = clean_items(frame, description.items.decimal_mark)
    if not items.rows_in:
        raise BadDataset(f"{root / description.items.file} has names of columns and no row; a shop needs items")
    tables = {"items": items}
    progress("reading events")
    if description.events is None:
        tables["events"] = RowFilter(no_events())
    else:
        of = description.events
        tables["events"] = clean_events(
            _read(root, of, EVENTS, notes),
            items.frame,
            of.day_order,
            of.decimal_mark,
            max_daily_events=of.max_daily_events,
            nobody=of.nobody,
        )
    if description.judgements is not None:
        progress("reading judgements")
        frame = _read(root, description.judgements, JUDGEMENTS, notes)
        tables["judgements"] = _judgements(frame, items.frame, description.judgements)
    for name, table in tables.items():
        mapping: TableMapping | None = getattr(description, name)
        if mapping is not None and not table.rows_in:
            notes.append(f"{mapping.file} has names of columns and no row: there are no {name}.")
        if mapping is not None:
            names, advice = mapping.columns or {}, "map another column to {column}, or raise max_bad_share"
            refuse_unreadable(table, str(root / mapping.file), names, advice, mapping.max_bad_share)
        refuse_empty(table, f"{root / mapping.file if mapping else root}")
    report = DataReport(
        source=ADAPTER.name,
        licence=description.licence,
        tables={name: table.report() for name, table in tables.items()},
        notes=notes,
        event_weights=description.events.weights if description.events else {},
    )
    judgements = tables["judgements"].frame if "judgements" in tables else None
    return Dataset(items.frame, tables["events"].take(), judgements, report)


def _describe(data: Path) -> tuple[Description, Path, list[str]]:
    if data.is_dir():
        return _of_folder(data)
    try:
        return Description.model_validate(tomllib.loads(data.read_text(encoding="utf-8-sig"))), data.parent, []
    except FileNotFoundError:
        raise BadDataset(f"{data} does not exist; name a folder of tables or a TOML description of them") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadDataset(f"{data} is no description of tables: it is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BadDataset(
            f"{data} is no description of tables: {place}: {first['msg']}; docs/data.md says what one holds"
        ) from error


def _of_folder(data: Path) -> tuple[Description, Path, list[str]]:
    found = find_tables(data)
    tables: dict[str, dict[str, Any]] = {
        name: {"file": path.name} for name, path in found.items() if name in ("items", "events", "judgements")
    }
    others = [path.name for name, path in found.items() if name not in tables]
    if "items" not in tables:
        kinds = ", ".join(f"items{suffix}" for suffix in SUFFIXES)
        seen = f"; it holds {', '.join(others)}" if others else ""
        raise BadDataset(
            f"{data} holds none of {kinds}{seen}; rename a table, name a TOML description of your tables, or see what "
            f"fits by `python -m pipeline inspect {data}`"
        )
    if "events" not in tables and others:
        raise BadDataset(
            f"{data} holds items and {', '.join(others)}, which nothing reads; name the events' table events, name it "
            "in a TOML description, or move it away"
        )
    notes = [f"{name} in the folder was not read." for name in others]
    if "events" in tables and (weights := _weights_of_dataset(data)):
        tables["events"] |= {"weights": weights}
    return Description.model_validate(tables), data, notes


def _weights_of_dataset(data: Path) -> dict[str, float]:
    """Return the weights that a prepared dataset states; none of a folder that is no dataset."""
    try:
        return DataReport.model_validate_json((data / REPORT).read_bytes()).event_weights
    except (OSError, ValidationError):
        return {}


def _read(root: Path, mapping: TableMapping, table: TableSpec, notes: list[str]) -> pl.DataFrame:
    file = root / mapping.file
    raw = read_raw_table(file, mapping.encoding, mapping.delimiter)
    notes.extend(sentence for note in raw.notes for sentence in note.sentences())
    columns = mapping.columns or _own_names(raw.frame.columns, table, file, notes)
    given = {"event"} if mapping.event else set()
    missing = sorted(set(table.needed) - set(columns) - given)
    if mapping.columns is not None and missing:
        raise BadDataset(
            f"{mapping.file}: the mapping of {table.name} lacks {', '.join(missing)}; say what they call it"
        )
    check_columns(raw.frame, set(columns.values()), str(file))
    frame = raw.frame.select(pl.col(theirs).alias(ours) for ours, theirs in columns.items())
    if mapping.event and table is EVENTS:
        frame = frame.with_columns(pl.lit(mapping.event).alias("event"))
    check_columns(frame, table.needed, str(file))
    return frame


def _own_names(found: Sequence[str], table: TableSpec, file: Path, notes: list[str]) -> dict[str, str]:
    """Return our column's name to theirs; a name that differs in case and marks alone, such as `Item ID`, is noted."""
    theirs = {plain_name(name): name for name in reversed(found)}
    ours = [name for name in (*table.needed, *table.optional) if name not in found and plain_name(name) in theirs]
    meant = {name: theirs[plain_name(name)] for name in ours}
    notes += [f"{file.name}: the column {name!r} was read as {our}." for our, name in meant.items()]
    return {**{name: name for name in found if name not in meant.values()}, **meant}


def _judgements(frame: pl.DataFrame, items: pl.DataFrame, mapping: TableMapping) -> RowFilter:
    typed = frame.with_columns(
        (as_ids if name == "item_id" else as_text)(frame[name])
        for name in ("query", "item_id", "split")
        if name in frame.columns
    )
    read = read_numbers(typed["relevance"], mapping.decimal_mark)
    judgements = filter_judgements(typed.with_columns(read.values.alias("relevance")), items)
    judgements.mark("relevance", typed["relevance"], read.unreadable)
    return judgements


ADAPTER: Final = Adapter(
    name="table",
    description="Your own tables: a folder with items and events in files of any kind, or a TOML mapping",
    licence="as the description states",
    prepare=prepare,
)

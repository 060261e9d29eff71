"""A dataset of the items and events of a shop platform's export, in our columns but as the shop writes them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from pipeline.data.adapters.shops.exports import Exports
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.dataset.schema import EVENTS, BadDataset
from pipeline.data.files.tables import table_name
from pipeline.data.ingest.events import PURCHASE, clean_events
from pipeline.data.ingest.items import clean_items
from pipeline.data.ingest.roles import guess_table, lacking, propose_roles
from pipeline.data.ingest.row_filter import RowFilter, no_events, refuse_empty, refuse_unreadable

LICENCE: Final = "the shop's own"
_EVENT_TABLES: Final = ("events", "orders")
_ADVICE: Final = "export the file again, or map its columns yourself (--source table)"


def shop_dataset(
    source: str, exports: Exports, items: RowFilter, events: RowFilter | None, codes: Collection[str] = ()
) -> Dataset:
    """Clean items and events, and make a dataset of them with its report.

    Args:
        source: The adapter's name.
        exports: Where they come from; its notes become the report's.
        items: Items in our columns, with what the adapter left out.
        events: Events in our columns likewise; None if there are none.
        codes: Further columns of items that stay text.

    Raises:
        BadDataset: No item is left, none of the events is, or most cells of a column cannot be read.
    """
    place = exports.place("products") if "products" in exports.files else str(exports.data)
    if not items.rows_in:
        raise BadDataset(f"{place} has names of columns and no row; a shop needs items")
    cleaned = clean_items(items.frame, codes=codes).include(items)
    refuse_unreadable(cleaned, place, {}, _ADVICE)
    refuse_empty(cleaned, place)
    tables = {"items": cleaned, "events": RowFilter(no_events())}
    if events is not None:
        tables["events"] = clean_events(events.take(), cleaned.frame).include(events)
        orders = exports.place("orders") if "orders" in exports.files else str(exports.data)
        refuse_unreadable(tables["events"], orders, {}, _ADVICE)
        refuse_empty(tables["events"], orders)
    report = DataReport(
        source=source,
        licence=LICENCE,
        tables={name: table.report() for name, table in tables.items()},
        notes=[*exports.notes, *_unused(exports)],
    )
    return Dataset(cleaned.frame, tables["events"].take(), None, report)


def take_own_events(exports: Exports) -> pl.DataFrame | None:
    """Take the shop's own table of events from the other tables, in our columns; None if there is none.

    It is the table named events or orders, or else the largest one that has users, items and times by the names of its
    columns. If no column says what happened, its rows are purchases. Columns without a role keep their names.

    Raises:
        BadDataset: A table named events or orders has no column for users, items or times.
    """
    named = [path for path in exports.others if table_name(path) in _EVENT_TABLES]
    fitting = [path for path, frame in exports.others.items() if guess_table(frame) == "events"]
    chosen = next(iter([*named, *sorted(fitting, key=lambda path: -exports.others[path].height)]), None)
    if chosen is None:
        return None
    frame = exports.others.pop(chosen)
    roles = propose_roles(frame, "events")
    missing = lacking(roles, "events")
    if missing:
        raise BadDataset(
            f"{chosen}: no column looks like {', '.join(missing)} among {', '.join(frame.columns)}; rename the columns"
        )
    exports.files["orders"] = [chosen]
    further = [name for name in frame.columns if name not in roles.values() and name not in roles]
    events = frame.select(*(pl.col(theirs).alias(ours) for ours, theirs in roles.items()), *further)
    return events if "event" in roles else events.with_columns(pl.lit(PURCHASE).alias("event"))


def own_events_only(events: pl.DataFrame) -> pl.DataFrame:
    """Return events without the columns that no dataset has."""
    known = (*EVENTS.needed, *EVENTS.optional)
    return events.select(name for name in known if name in events.columns)


def _unused(exports: Exports) -> list[str]:
    return [f"{path.name} in the folder was not read." for path in exports.others]

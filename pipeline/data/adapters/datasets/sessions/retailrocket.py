"""RetailRocket: four and a half months of views, carts and purchases of a real shop, with hashed texts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.dataset.schema import TIMESTAMP, BadDataset
from pipeline.data.files.tables import read_table
from pipeline.data.ingest.row_filter import RowFilter, refuse_empty

_EVENTS: Final = ("timestamp", "visitorid", "event", "itemid")


_PROPERTIES: Final = ("timestamp", "itemid", "property", "value")


_KINDS: Final = {"view": "view", "addtocart": "cart", "transaction": "purchase"}


# The two properties that are not hashed.
_CATEGORY: Final = "categoryid"


_AVAILABLE: Final = "available"


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a folder with ``events.csv`` and ``item_properties*.csv`` (one file, or its two parts).

    Names, brands and prices are hashed in the data: an item's title is its number, its category the number of its
    category, as last stated. The catalogue is what the properties or the events name.

    Raises:
        BadDataset: A file or a column is missing, or no usable row is left.
    """
    progress("reading properties")
    properties = _properties(data)
    progress("reading events")
    events = RowFilter(_read(data / "events.csv", _EVENTS))
    _clean(events)
    refuse_empty(events, f"{data}/events.csv")
    items = _items(properties, events.frame)
    listed = RowFilter(items)
    kept = _typed_events(events.frame)
    report = DataReport(
        source=ADAPTER.name,
        licence=ADAPTER.licence,
        tables={"items": listed.report(), "events": events.report(missing_in=kept)},
        notes=[
            "Names, brands and prices are hashed: titles are item numbers, and texts do not describe items.",
            f"{properties.height:,} rows of properties state category or availability; the others are hashed.",
        ],
    )
    return Dataset(items, kept, None, report)


def _properties(data: Path) -> pl.DataFrame:
    files = sorted(data.glob("item_properties*.csv")) if data.is_dir() else []
    if not files:
        raise BadDataset(
            f"{data} holds no item_properties.csv, nor its parts; name the folder with events and properties"
        )
    plain = pl.col("property").is_in([_CATEGORY, _AVAILABLE]) & pl.all_horizontal(pl.col(_PROPERTIES).is_not_null())
    return pl.concat([_read(file, _PROPERTIES).filter(plain) for file in files])


def _read(file: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    read = read_table(file, {column: column for column in columns}, infer=False)
    return read.with_columns(pl.col("timestamp").cast(pl.Int64, strict=False))


def _clean(events: RowFilter) -> None:
    unreadable = pl.any_horizontal(pl.col(_EVENTS).is_null())
    events.drop("unreadable", "Time, visitor, event or item is missing or unreadable.", unreadable)
    events.drop("unknown_kind", f"Events are {', '.join(_KINDS)}.", ~pl.col("event").is_in(list(_KINDS)))
    again = ~pl.struct(_EVENTS).is_first_distinct()
    events.drop("repeated", "The same visitor did the same with the same item at the same time before.", again)


def _items(properties: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    known = pl.concat([properties.select("itemid"), events.select("itemid")]).unique()
    latest = (
        properties.sort("timestamp", maintain_order=True).group_by("itemid", "property").agg(pl.col("value").last())
    )
    for name in (_CATEGORY, _AVAILABLE):
        of_name = latest.filter(pl.col("property") == name).select("itemid", pl.col("value").alias(name))
        known = known.join(of_name, on="itemid", how="left")
    return known.select(
        pl.col("itemid").alias("item_id"),
        pl.concat_str(pl.lit("Item "), "itemid").alias("title"),
        pl.concat_str(pl.lit("Category "), _CATEGORY).alias("category"),
        (pl.col(_AVAILABLE) == "1").alias("available"),
    ).sort("item_id")


def _typed_events(events: pl.DataFrame) -> pl.DataFrame:
    return events.select(
        pl.col("visitorid").alias("user_id"),
        pl.col("itemid").alias("item_id"),
        pl.col("event").replace_strict(_KINDS, return_dtype=pl.String),
        (pl.col("timestamp") * 1_000).cast(TIMESTAMP),
    )


ADAPTER: Final = Adapter(
    name="retailrocket",
    description="RetailRocket: a folder with events.csv and item_properties*.csv of a real shop, texts hashed",
    licence="RetailRocket recommender system dataset (CC BY-NC-SA 4.0)",
    prepare=prepare,
)

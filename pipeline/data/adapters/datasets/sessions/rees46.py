"""REES46: views, carts and purchases of a shop of many categories, a file for each month, without titles.

The form is documented at https://www.kaggle.com/datasets/mkechinov/ecommerce-behavior-data-from-multi-category-store:
`2019-Oct.csv` and its like, with times such as 2019-10-01 00:00:00 UTC and category codes such as
electronics.smartphone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.adapters.datasets.published_files import PublishedFiles, last_stated
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.tables import is_table
from pipeline.data.ingest.events import clean_events
from pipeline.data.ingest.items import clean_items
from pipeline.data.ingest.row_filter import RowFilter

_EVENT: Final = {
    "timestamp": "event_time",
    "event": "event_type",
    "item_id": "product_id",
    "user_id": "user_id",
    "session_id": "user_session",
}
_ITEM: Final = {"category_id": "category_id", "category_code": "category_code", "brand": "brand", "price": "price"}
_COLUMNS: Final = {**_EVENT, **_ITEM}
_REMOVAL: Final = "remove_from_cart"


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from one month's file, or a folder of them.

    Items are what the events name, with brand, category and price as last stated. An item's title is made of its brand,
    the last part of its category code, and its number. Removals from a cart are left out.

    Raises:
        BadDataset: A file or a column is missing, or no usable row is left.
    """
    progress("reading events")
    files = PublishedFiles(data)
    months = [data.name] if data.is_file() else _months(data)
    rows = pl.concat([files.read(month, _COLUMNS) for month in months])
    items = clean_items(_items(rows), ".")
    files.check(items, months[0], _COLUMNS)
    happened = RowFilter(rows.select(*_EVENT))
    del rows  # a month has tens of millions of them
    events = clean_events(happened.take(), items.frame)
    events.drop("removal", "The item was taken out of a cart.", pl.col("event") == _REMOVAL)
    files.check(events, months[0], _COLUMNS)
    notes = ["The data has no titles: an item's title is its brand, the last part of its category and its number."]
    return files.dataset(ADAPTER, items, events, notes)


def _months(folder: Path) -> list[str]:
    found = (
        sorted(file.name for file in folder.iterdir() if file.is_file() and is_table(file)) if folder.is_dir() else []
    )
    if not found:
        raise BadDataset(f"{folder} holds no month such as 2019-Oct.csv; name the file or the folder of the months")
    return found


def _items(rows: pl.DataFrame) -> pl.DataFrame:
    stated = last_stated(rows.select("item_id", "timestamp", *_ITEM), "item_id", "timestamp")
    levels = pl.col("category_code").str.replace_all("_", " ").str.split(".")
    title = pl.concat_str("brand", levels.list.last(), "item_id", separator=" ", ignore_nulls=True)
    unnamed = pl.col("brand").is_null() & pl.col("category_code").is_null()
    category = pl.coalesce(levels.list.join(" > "), pl.concat_str(pl.lit("Category "), "category_id"))
    return stated.select(
        "item_id",
        pl.when(unnamed).then(pl.concat_str(pl.lit("Item "), "item_id")).otherwise(title).alias("title"),
        "brand",
        category.alias("category"),
        "price",
    )


ADAPTER: Final = Adapter(
    name="rees46",
    description="REES46: a month's file of a shop of many categories, or a folder of months; items without titles",
    licence="eCommerce behavior data, REES46 Open CDP (free to use; name REES46, https://rees46.com/en/open-cdp)",
    prepare=prepare,
)

"""Diginetica (CIKM Cup 2016, track 2): views and purchases of visits to a shop, texts hashed word by word.

The form is documented at https://competitions.codalab.org/competitions/11161: tables parted by `;`, events with a day
and the milliseconds since the visit began, prices as binary logarithms, names as numbers of words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.adapters.datasets.published_files import PublishedFiles
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.ingest.events import clean_events
from pipeline.data.ingest.items import clean_items
from pipeline.data.ingest.row_filter import RowFilter
from pipeline.data.ingest.times import read_times
from pipeline.data.ingest.values import read_numbers

VIEWS: Final = "train-item-views.csv"
PURCHASES: Final = "train-purchases.csv"
PRODUCTS: Final = "products.csv"
CATEGORIES: Final = "product-categories.csv"
_EVENT: Final = {
    "session_id": "sessionId",
    "user_id": "userId",
    "item_id": "itemId",
    "timeframe": "timeframe",
    "timestamp": "eventdate",
}
_PRODUCT: Final = {"item_id": "itemId", "price": "pricelog2", "words": "product.name.tokens"}
_CATEGORY: Final = {"item_id": "itemId", "category": "categoryId"}


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a folder with views, purchases, products and their categories.

    A visit without a user is a user of its own. The price is the power of two that the data has the logarithm of.

    Raises:
        BadDataset: A file or a column is missing, or no usable row is left.
    """
    files = PublishedFiles(data)
    progress("reading products")
    items = _items(files)
    files.check(items, PRODUCTS, _PRODUCT)
    progress("reading events")
    rows = pl.concat(
        [
            files.read(VIEWS, _EVENT, ";").with_columns(event=pl.lit("view")),
            files.read(PURCHASES, _EVENT, ";").with_columns(event=pl.lit("purchase")),
        ]
    )
    events = _events(rows, items.frame)
    files.check(events, VIEWS, _EVENT)
    notes = [
        "Names are hashed: titles are item numbers, and descriptions are the numbers of the name's words.",
        "Days are published, with the time since the visit began: every visit begins at midnight.",
    ]
    return files.dataset(ADAPTER, items, events, notes)


def _items(files: PublishedFiles) -> RowFilter:
    products = files.read(PRODUCTS, _PRODUCT, ";")
    categories = files.read(CATEGORIES, _CATEGORY, ";").unique("item_id", keep="first", maintain_order=True)
    logarithm = read_numbers(products["price"], ".")
    frame = products.join(categories, on="item_id", how="left", maintain_order="left").select(
        "item_id",
        pl.concat_str(pl.lit("Item "), "item_id").alias("title"),
        pl.concat_str(pl.lit("Category "), "category").alias("category"),
        pl.col("words").str.replace_all(",", " ").alias("description"),
        (2.0**logarithm.values).alias("price"),
    )
    items = clean_items(frame, ".")
    items.mark("price", products["price"], logarithm.unreadable)
    return items


def _events(rows: pl.DataFrame, items: pl.DataFrame) -> RowFilter:
    days = read_times(rows["timestamp"])
    elapsed = read_numbers(rows["timeframe"], ".")
    user = pl.col("user_id").drop_nulls().first().over("session_id")
    visits = rows.select(
        pl.coalesce(user, pl.concat_str(pl.lit("session-"), "session_id")).alias("user_id"),
        "item_id",
        "event",
        (days.times + (elapsed.values.fill_null(0.0) * 1_000).cast(pl.Duration("us"))).alias("timestamp"),
        "session_id",
        user.is_not_null().alias("known_user"),
    )
    events = clean_events(visits, items)
    events.mark("timestamp", rows["timestamp"], days.unreadable | days.outside)
    events.mark("timeframe", rows["timeframe"], elapsed.unreadable)
    return events


ADAPTER: Final = Adapter(
    name="diginetica",
    description="Diginetica: a folder with train-item-views.csv, train-purchases.csv, products.csv and categories",
    licence="DIGINETICA, CIKM Cup 2016 track 2 (no licence stated; terms of the competition, research use)",
    prepare=prepare,
)

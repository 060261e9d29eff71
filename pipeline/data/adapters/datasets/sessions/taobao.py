"""Taobao UserBehavior (Alibaba): views, carts, favourites and purchases of nine days in 2017, without titles.

The form is documented at https://tianchi.aliyun.com/dataset/649: `UserBehavior.csv` without a heading, with the columns
user, item, category, behaviour (pv, buy, cart or fav) and time in seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.adapters.datasets.published_files import PublishedFiles, last_stated
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.ingest.events import clean_events
from pipeline.data.ingest.items import clean_items
from pipeline.data.ingest.row_filter import RowFilter

FILE: Final = "UserBehavior.csv"
_COLUMNS: Final = ("user_id", "item_id", "category_id", "event", "timestamp")


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from ``UserBehavior.csv``, or a folder with it.

    Items are what the events name. An item's title is made of the numbers of its category and itself.

    Raises:
        BadDataset: The file is missing, has other columns, or no usable row is left.
    """
    progress("reading events")
    files = PublishedFiles(data)
    name = data.name if data.is_file() else FILE
    rows = files.read_rows(name, _COLUMNS)
    items = clean_items(_items(rows))
    files.check(items, name, {})
    happened = RowFilter(rows.drop("category_id"))
    del rows  # a hundred million of them
    events = clean_events(happened.take(), items.frame)
    files.check(events, name, {})
    notes = ["The data has no titles: an item's title is its category's number and its own, and describes nothing."]
    return files.dataset(ADAPTER, items, events, notes)


def _items(rows: pl.DataFrame) -> pl.DataFrame:
    category = pl.concat_str(pl.lit("Category "), "category_id")
    title = pl.concat_str(category, pl.concat_str(pl.lit("item "), "item_id"), separator=", ", ignore_nulls=True)
    stated = last_stated(rows.select("item_id", "category_id"), "item_id")
    return stated.select("item_id", title.alias("title"), category.alias("category"))


ADAPTER: Final = Adapter(
    name="taobao",
    description="Taobao UserBehavior: UserBehavior.csv of Alibaba's Tianchi, items without titles",
    licence="User Behavior Data from Taobao, Alibaba (terms of Tianchi, https://tianchi.aliyun.com/dataset/649)",
    prepare=prepare,
)

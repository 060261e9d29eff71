"""Yoochoose (RecSys Challenge 2015): clicks and purchases of visits to a shop, without titles and users.

The form is documented at https://2015.recsyschallenge.com/challenge.html: two files without headings,
`yoochoose-clicks.dat` with session, time, item and category, and `yoochoose-buys.dat` with session, time, item, price
and quantity.
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

CLICKS: Final = "yoochoose-clicks.dat"
BUYS: Final = "yoochoose-buys.dat"
_CLICK: Final = ("session_id", "timestamp", "item_id", "category")
_BUY: Final = ("session_id", "timestamp", "item_id", "price", "quantity")
# A click's category is 0 if missing, S for a special offer, 1 to 12 for a category, and longer for a brand.
_CATEGORY: Final = r"^(?:[1-9]|1[0-2])$"
_BRAND: Final = r"^\d{3,}$"


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a folder with clicks and purchases; every visit is a user of its own.

    Items are what the events name, with category, brand and price as last stated. A price or quantity of 0 is missing.

    Raises:
        BadDataset: A file is missing, has other columns, or no usable row is left.
    """
    files = PublishedFiles(data)
    progress("reading clicks")
    clicks = files.read_rows(CLICKS, _CLICK)
    progress("reading purchases")
    buys = files.read_rows(BUYS, _BUY).with_columns(pl.col("price", "quantity").replace("0", None))
    items = clean_items(_items(clicks, buys), ".")
    files.check(items, BUYS, {})
    both = pl.concat(
        [
            clicks.select("session_id", "timestamp", "item_id", event=pl.lit("view")),
            buys.select("session_id", "timestamp", "item_id", "quantity", event=pl.lit("purchase")),
        ],
        how="diagonal",
    )
    visits = both.with_columns(user_id="session_id", known_user=pl.lit(value=False))
    events = clean_events(visits, items.frame, mark=".")
    files.check(events, CLICKS, {})
    notes = [
        "The data has no titles: an item's title is its number, and describes nothing.",
        "The data has no users: every visit is a user of its own.",
    ]
    return files.dataset(ADAPTER, items, events, notes)


def _items(clicks: pl.DataFrame, buys: pl.DataFrame) -> pl.DataFrame:
    def where(pattern: str, word: str) -> pl.Expr:
        named = pl.concat_str(pl.lit(word), "category")
        return pl.when(pl.col("category").str.contains(pattern)).then(named)

    rows = pl.concat(
        [
            clicks.select(
                "item_id",
                "timestamp",
                brand=where(_BRAND, "Brand "),
                category=where(_CATEGORY, "Category "),
            ),
            buys.select("item_id", "timestamp", "price"),
        ],
        how="diagonal",
    )
    stated = last_stated(rows, "item_id", "timestamp")
    return stated.with_columns(pl.concat_str(pl.lit("Item "), "item_id").alias("title"))


ADAPTER: Final = Adapter(
    name="yoochoose",
    description="Yoochoose: a folder with yoochoose-clicks.dat and yoochoose-buys.dat, items without titles",
    licence="YOOCHOOSE, RecSys Challenge 2015 (CC BY-NC-ND 4.0)",
    prepare=prepare,
)

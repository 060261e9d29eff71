"""H&M: purchases of two years with articles as a catalogue describes them.

The form is documented at https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations/data:
`articles.csv` and `transactions_train.csv`, ids of articles with zeros in front, purchases by day, prices scaled.
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
from pipeline.data.ingest.values import read_numbers

ARTICLES: Final = "articles.csv"
TRANSACTIONS: Final = "transactions_train.csv"
CUSTOMERS: Final = "customers.csv"
_ARTICLE: Final = {
    "item_id": "article_id",
    "name": "prod_name",
    "kind": "product_type_name",
    "group": "product_group_name",
    "colour": "colour_group_name",
    "section": "index_group_name",
    "description": "detail_desc",
}
_TRANSACTION: Final = {"timestamp": "t_dat", "user_id": "customer_id", "item_id": "article_id", "value": "price"}


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a folder with articles and transactions; customers are not read.

    An article's title is its name and colour, its price the median of what was paid. Equal lines of one day are one
    purchase with their number as quantity.

    Raises:
        BadDataset: A file or a column is missing, or no usable row is left.
    """
    files = PublishedFiles(data)
    progress("reading transactions")
    rows = files.read(TRANSACTIONS, _TRANSACTION)
    progress("reading articles")
    items = clean_items(_items(files.read(ARTICLES, _ARTICLE), rows))
    files.check(items, ARTICLES, _ARTICLE)
    events = _events(rows, items.frame)
    files.check(events, TRANSACTIONS, _TRANSACTION)
    notes = ["Prices are scaled by the publisher: they compare articles, and are in no currency."]
    if files.find(CUSTOMERS) is not None:
        notes.append(f"{CUSTOMERS} was not read: a dataset holds nothing of customers but their events.")
    return files.dataset(ADAPTER, items, events, notes)


def _items(articles: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    paid = rows.select("item_id", read_numbers(rows["value"], ".").values.alias("price"))
    prices = paid.group_by("item_id").agg(pl.col("price").median())
    return articles.join(prices, on="item_id", how="left", maintain_order="left").select(
        "item_id",
        pl.when(pl.col("name").is_not_null())
        .then(pl.concat_str("name", "colour", separator=", ", ignore_nulls=True))
        .alias("title"),
        pl.concat_str("group", "kind", separator=" > ", ignore_nulls=True).alias("category"),
        "description",
        "price",
        "colour",
        "section",
    )


def _events(rows: pl.DataFrame, items: pl.DataFrame) -> RowFilter:
    count = pl.len().over(rows.columns).cast(pl.Float64)
    events = clean_events(rows.with_columns(event=pl.lit("purchase"), quantity=count), items, mark=".")
    events.replace("value", events.frame["value"] * events.frame["quantity"])
    return events


ADAPTER: Final = Adapter(
    name="hm",
    description="H&M: a folder with articles.csv and transactions_train.csv, prices scaled",
    licence="H&M Personalized Fashion Recommendations (rules of the Kaggle competition, non-commercial use)",
    prepare=prepare,
)

"""Instacart: orders of groceries in the order in which each user made them, without dates.

The form is documented at https://www.kaggle.com/c/instacart-market-basket-analysis/data: `products.csv`, `aisles.csv`,
`departments.csv`, `orders.csv`, and the lines of orders in `order_products__prior.csv` and `order_products__train.csv`.
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

PRODUCTS: Final = "products.csv"
AISLES: Final = "aisles.csv"
DEPARTMENTS: Final = "departments.csv"
ORDERS: Final = "orders.csv"
PRIOR: Final = "order_products__prior.csv"
TRAIN: Final = "order_products__train.csv"
_PRODUCT: Final = {
    "item_id": "product_id",
    "title": "product_name",
    "aisle_id": "aisle_id",
    "department_id": "department_id",
}
_ORDER: Final = {"session_id": "order_id", "user_id": "user_id", "order_number": "order_number"}
_LINE: Final = {"session_id": "order_id", "item_id": "product_id", "place": "add_to_cart_order"}


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a folder with products, aisles, departments, orders and their lines.

    A product's category is its department and aisle. A user's purchases have positions, by the number of the order and
    the place in it. The lines of `order_products__train.csv` are optional.

    Raises:
        BadDataset: A file or a column is missing, or no usable row is left.
    """
    files = PublishedFiles(data)
    progress("reading products")
    items = clean_items(_items(files))
    files.check(items, PRODUCTS, _PRODUCT)
    progress("reading orders")
    orders = files.read(ORDERS, _ORDER).unique("session_id", keep="first", maintain_order=True)
    parts = [PRIOR, TRAIN] if files.find(TRAIN) else [PRIOR]
    lines = pl.concat([files.read(part, _LINE) for part in parts])
    events = _events(lines.join(orders, on="session_id", how="left", maintain_order="left"), items.frame)
    files.check(events, PRIOR, {**_LINE, **_ORDER})
    notes = ["Dates are unknown: a user's purchases have positions alone. Lines without an order count as no_user."]
    return files.dataset(ADAPTER, items, events, notes)


def _items(files: PublishedFiles) -> pl.DataFrame:
    products = files.read(PRODUCTS, _PRODUCT)
    for name, file in (("aisle", AISLES), ("department", DEPARTMENTS)):
        named = files.read(file, {f"{name}_id": f"{name}_id", name: name})
        named = named.unique(f"{name}_id", keep="first", maintain_order=True)
        products = products.join(named, on=f"{name}_id", how="left", maintain_order="left")
    category = pl.concat_str("department", "aisle", separator=" > ", ignore_nulls=True).replace("", None)
    return products.select("item_id", "title", category.alias("category"))


def _events(rows: pl.DataFrame, items: pl.DataFrame) -> RowFilter:
    orders, places = (read_numbers(rows[name], ".") for name in ("order_number", "place"))
    readable = orders.values.is_not_null() & places.values.is_not_null()
    numbered = rows.with_columns(orders.values, places.values, readable.alias("readable"))
    order = pl.struct("order_number", "place").rank("ordinal").over("user_id")
    purchases = numbered.select(
        "user_id",
        "item_id",
        "session_id",
        event=pl.lit("purchase"),
        position=pl.when("readable").then(order).cast(pl.Int64),
    )
    events = clean_events(purchases, items)
    events.mark("order_number", rows["order_number"], orders.unreadable)
    events.mark("place", rows["place"], places.unreadable)
    return events


ADAPTER: Final = Adapter(
    name="instacart",
    description="Instacart: a folder with products, aisles, departments, orders and order_products__*.csv, no dates",
    licence="The Instacart Online Grocery Shopping Dataset 2017 (non-commercial use)",
    prepare=prepare,
)

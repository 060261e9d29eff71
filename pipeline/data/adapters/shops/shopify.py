"""Shopify: the CSV exports of products and of orders.

Products: https://help.shopify.com/en/manual/products/import-export/using-csv
Orders: https://help.shopify.com/en/manual/fulfillment/managing-orders/exporting-orders

An item is a product, and its id is the handle: variants are chosen on the product's own page. The further rows of a
product, which repeat only the handle, give its variants and images. An order's line finds its item by the variant's
SKU, or else by the line's name (`Title - Red / M`). The user is the customer's id if the export has it, or else the
e-mail address in lower case; an order without either is a visit of an unknown user.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.adapters.shops.attributes import attribute_columns
from pipeline.data.adapters.shops.exports import first_of, read_exports
from pipeline.data.adapters.shops.shop_dataset import LICENCE, shop_dataset
from pipeline.data.adapters.shops.shopify_orders import read_orders
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.ingest.row_filter import RowFilter
from pipeline.data.ingest.values import read_flags, read_numbers

HEADINGS: Final = {
    "products": (
        {"handle", "title", "variant price"},
        {"handle", "title", "body (html)"},
        {"url handle", "title", "price"},
        {"url handle", "title", "status"},
    ),
    "orders": ({"name", "lineitem name"}, {"name", "line: type", "line: title"}),
}
_OPTIONS: Final = (1, 2, 3)
_NO_OPTION: Final = "Default Title"  # the value of the only variant of a product without options


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset of a folder with exports of products and, if there are any, of orders; each may be in parts.

    Raises:
        BadDataset: There is no export of products, or no usable row.
    """
    progress("reading products")
    exports = read_exports(data, HEADINGS, "products", "a folder with Shopify's export of products, and of orders")
    rows = RowFilter(_named(exports.tables["products"]))
    rows.drop("no_handle", "The row has no handle.", pl.col("handle").is_null())
    price = read_numbers(rows.frame["price"])
    rows.read("price", price.values, price.unreadable)
    variants = rows.frame
    again = ~pl.col("handle").is_first_distinct()
    rows.drop("further_row", "A further row of a product gives a variant or an image.", again)
    rows.frame = _items(variants)
    progress("reading orders")
    orders = exports.tables.get("orders")
    events = None if orders is None else read_orders(orders, _finder(variants))
    return shop_dataset(ADAPTER.name, exports, rows, events, codes=rows.frame.columns)


def _named(table: pl.DataFrame) -> pl.DataFrame:
    """Return the columns that are used under one name, whichever edition of the export has them."""
    names = {
        "handle": ("handle", "url handle"),
        "title": ("title",),
        "description": ("body (html)", "description"),
        "brand": ("vendor",),
        "category": ("product category", "type"),
        "type": ("type",),
        "tags": ("tags",),
        "published": ("published", "published on online store"),
        "status": ("status",),
        "sku": ("variant sku", "sku"),
        "price": ("variant price", "price"),
        "quantity": ("variant inventory qty", "inventory quantity"),
        "tracker": ("variant inventory tracker", "inventory tracker"),
        "policy": ("variant inventory policy", "continue selling when out of stock"),
        **{f"option{at} name": (f"option{at} name",) for at in _OPTIONS},
        **{f"option{at} value": (f"option{at} value",) for at in _OPTIONS},
    }
    named = table.select(first_of(table, *theirs).alias(ours) for ours, theirs in names.items())
    # Some spreadsheets and exports guard numbers by an apostrophe.
    return named.with_columns(
        pl.col("sku").str.strip_prefix("'"),
        *(pl.col(f"option{at} name").forward_fill().over("handle") for at in _OPTIONS),
    )


def _items(variants: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each product: what its first filled row says, the lowest price, in stock if a variant is."""
    texts = ("title", "description", "brand", "category", "type", "tags", "status", "published")
    products = (
        variants.with_columns(_in_stock(variants).alias("in_stock"))
        .group_by("handle", maintain_order=True)
        .agg(pl.col(texts).drop_nulls().first(), pl.col("price").min(), pl.col("in_stock").any())
    )
    shown = _flag(products["status"]) & _flag(products["published"])
    items = products.select(
        pl.col("handle").alias("item_id"),
        *("title", "brand", "category", "description", "price", "type", "tags"),
        (shown & products["in_stock"]).alias("available"),
    )
    return items.join(_options(variants), on="item_id", how="left", maintain_order="left")


def _in_stock(variants: pl.DataFrame) -> pl.Series:
    """Return whether each row's variant can be bought: it is not counted, is there, or may be sold beyond that."""
    quantity = read_numbers(variants["quantity"]).values
    counted = variants["tracker"].is_not_null() | variants["tracker"].is_null().all()
    beyond = variants["policy"].str.to_lowercase().is_in(["continue", "true"]).fill_null(value=False)
    there = (quantity > 0) | quantity.is_null().all()
    is_variant = variants["price"].is_not_null() | variants["sku"].is_not_null() | variants["title"].is_not_null()
    return is_variant & (~counted | beyond | there.fill_null(value=False))


def _flag(column: pl.Series) -> pl.Series:
    return read_flags(column).values.fill_null(value=True)


def _options(variants: pl.DataFrame) -> pl.DataFrame:
    pairs = [
        variants.select(
            pl.col("handle").alias("item_id"),
            pl.col(f"option{at} name").alias("name"),
            pl.col(f"option{at} value").alias("value"),
        ).filter(pl.col("value") != _NO_OPTION)
        for at in _OPTIONS
    ]
    return attribute_columns(pl.concat(pairs))


def _finder(variants: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return what lines of orders can name an item by: SKUs; and names, of variants and of products."""
    titled = variants.with_columns(pl.col("title").forward_fill().over("handle"), pl.col("handle").alias("item_id"))
    values = [pl.col(f"option{at} value") for at in _OPTIONS]
    options = pl.concat_str(*values, separator=" / ", ignore_nulls=True)
    of_variant = pl.concat_str(pl.col("title"), pl.lit(" - "), options)
    names = pl.concat(
        [
            titled.select(of_variant.alias("key"), "item_id"),
            titled.select(pl.col("title").alias("key"), "item_id"),
        ]
    )
    return {"sku": titled.select(pl.col("sku").alias("key"), "item_id"), "name": names}


ADAPTER: Final = Adapter(
    name="shopify",
    description="Shopify: a folder with the CSV exports of products and orders",
    licence=LICENCE,
    prepare=prepare,
)

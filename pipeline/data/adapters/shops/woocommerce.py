"""WooCommerce: the CSV export of products, with a table of orders if there is one.

Columns: https://github.com/woocommerce/woocommerce/wiki/Product-CSV-Import-Schema and
https://woocommerce.com/document/product-csv-importer-exporter/

An item is a product, and its id is the product's ID: a variation belongs to the product that its Parent names, by
`id:12` or by SKU. WooCommerce itself exports no lines of orders; any table of them is read that has columns for
user, item and time. It may name an item by the ID or SKU of a product or a variation, or by a product's name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.adapters.shops.attributes import attribute_columns
from pipeline.data.adapters.shops.exports import first_of, look_up, read_exports
from pipeline.data.adapters.shops.shop_dataset import LICENCE, own_events_only, shop_dataset, take_own_events
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.ingest.events import PURCHASE
from pipeline.data.ingest.row_filter import RowFilter
from pipeline.data.ingest.values import as_ids, as_text, read_flags, read_numbers

HEADINGS: Final = {
    "products": ({"id", "type", "sku", "name", "regular price"}, {"id", "type", "sku", "name", "parent"}),
    "orders": ({"order #", "product(s)"},),
}
_STATUS: Final = ("status", "order status", "order_status", "post_status", "Status", "Order Status")
# Statuses of orders that are no purchases (https://woocommerce.com/document/managing-orders/order-statuses/).
_NOT_BOUGHT: Final = ("cancelled", "canceled", "refunded", "failed", "pending", "checkout-draft", "draft", "trash")
_LINE: Final = re.compile(r"(?:^|, )(-?\d+)\s*[×x]\s+(.*?)(?=, -?\d+\s*[×x]\s|$)")  # as in 2x Hoodie, 1x Cap
_BRAND: Final = "brand_attribute"
_COLUMNS: Final = {
    "id": ("id",),
    "kind": ("type",),
    "sku": ("sku",),
    "title": ("name",),
    "published": ("published",),
    "short": ("short description",),
    "long": ("description",),
    "in_stock": ("in stock?",),
    "sale price": ("sale price",),
    "sale ends": ("date sale price ends",),
    "regular price": ("regular price",),
    "categories": ("categories",),
    "tags": ("tags",),
    "parent": ("parent",),
    "brand": ("brands", "brand"),
}


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset of the export of products, and of a table of orders or events in the same folder.

    Raises:
        BadDataset: There is no export of products, a table of orders lacks columns, or no row is usable.
    """
    progress("reading products")
    exports = read_exports(data, HEADINGS, "products", "WooCommerce's export of products or the folder that has it")
    table = exports.tables["products"]
    rows = RowFilter(_named(table))
    rows.drop("no_id", "The item has no id.", pl.col("id").is_null())
    again = ~pl.col("id").is_first_distinct()
    rows.drop("repeated_id", "An item with this id came before; the first one stays.", again)
    price = read_numbers(_price(rows.frame))
    rows.mark("price", _price(rows.frame), price.unreadable)
    rows.replace("price", price.values)
    everything = _with_product(rows.frame)
    rows.frame = everything
    variation = pl.col("product") != pl.col("id")
    rows.drop("variation", "A variation belongs to its product, which is the item.", variation)
    attributes = _attributes(table, everything)
    items = _items(rows.frame, everything).join(attributes, on="item_id", how="left", maintain_order="left")
    if _BRAND in items.columns:  # shops had no column for brands before WooCommerce 9
        items = items.with_columns(pl.coalesce("brand", _BRAND).alias("brand")).drop(_BRAND)
    rows.frame = items
    progress("reading orders")
    analytics = exports.tables.get("orders")
    orders = take_own_events(exports) if analytics is None else _of_analytics(analytics)
    events = None if orders is None else _events(orders, everything)
    if events is not None and analytics is not None:
        events.note("The orders name customers by their names: customers of one name count as one.")
    return shop_dataset(ADAPTER.name, exports, rows, events, codes=rows.frame.columns)


def _named(table: pl.DataFrame) -> pl.DataFrame:
    frame = table.select(first_of(table, *theirs).alias(ours) for ours, theirs in _COLUMNS.items())
    # The export writes line breaks of texts as \n.
    return frame.with_columns(pl.col("short", "long").str.replace_all(r"\\[nr]", " "))


def _with_product(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the id of the product that each is, or belongs to if it is there."""
    known = pl.concat(
        [
            rows.select(pl.concat_str(pl.lit("id:"), "id").alias("key"), pl.col("id").alias("item_id")),
            rows.select(pl.col("sku").alias("key"), pl.col("id").alias("item_id")),
        ]
    )
    parent = look_up(rows["parent"], known)
    is_variation = pl.col("kind").str.to_lowercase().str.contains("variation", literal=True).fill_null(value=False)
    product = pl.when(is_variation).then(pl.coalesce(parent.alias("parent product"), "id")).otherwise("id")
    return rows.with_columns(product.alias("product"), _in_stock(rows).alias("stocked"))


def _price(rows: pl.DataFrame) -> pl.Series:
    """Return prices as text: that of a sale if it has no end, or else the regular one."""
    on_sale = rows["sale price"].is_not_null() & rows["sale ends"].is_null()
    return rows.select(pl.when(on_sale).then("sale price").otherwise("regular price")).to_series()


def _in_stock(rows: pl.DataFrame) -> pl.Series:
    flags = read_flags(rows["in_stock"]).values.fill_null(value=True)
    published = read_numbers(rows["published"]).values.fill_null(1.0)
    return flags & (published > 0)


def _items(products: pl.DataFrame, everything: pl.DataFrame) -> pl.DataFrame:
    """Return products in our columns; what a product leaves empty, its variations say."""
    variations = everything.filter(pl.col("product") != pl.col("id"))
    of_variations = variations.group_by("product").agg(
        pl.col("price").min().alias("lowest"), pl.col("stocked").any().alias("any stocked")
    )
    whole = products.join(of_variations, left_on="id", right_on="product", how="left", maintain_order="left")
    return whole.select(
        pl.col("id").alias("item_id"),
        "title",
        "brand",
        pl.col("categories").map_elements(_deepest, return_dtype=pl.String).alias("category"),
        pl.concat_str("short", "long", separator=" ", ignore_nulls=True).replace("", None).alias("description"),
        pl.coalesce("price", "lowest").alias("price"),
        "sku",
        "tags",
        (pl.col("stocked") & pl.col("any stocked").fill_null(value=True)).alias("available"),
    )


def _deepest(cell: str) -> str:
    """Return the longest of the paths that a product is in: `Clothing, Clothing > Hoodies` is Clothing > Hoodies."""
    paths = [path.replace("\\,", ",").strip() for path in re.split(r"(?<!\\),", cell)]
    return max(paths, key=lambda path: path.count(">"))


def _attributes(table: pl.DataFrame, everything: pl.DataFrame) -> pl.DataFrame:
    """Return the columns `Attribute 1 name`, `Attribute 1 value(s)` and so on as one column for each name."""
    product = look_up(
        first_of(table, "id"), everything.select(pl.col("id").alias("key"), pl.col("product").alias("item_id"))
    )
    pairs = [pl.DataFrame(schema=dict.fromkeys(("item_id", "name", "value"), pl.String))]
    for number in range(1, len(table.columns)):
        name, value = f"attribute {number} name", f"attribute {number} value(s)"
        if name not in table.columns or value not in table.columns:
            break
        pairs.append(pl.DataFrame({"item_id": product, "name": table[name], "value": table[value]}))
    split = pl.concat(pairs).with_columns(pl.col("value").str.split(",")).explode("value")
    return attribute_columns(split.with_columns(pl.col("value").str.strip_chars().replace("", None)))


def _of_analytics(table: pl.DataFrame) -> pl.DataFrame:
    """Return the orders of WooCommerce Analytics in our columns, a row for each product of an order.

    An order without a customer's name is a visit. A row whose net sales are below zero is a refund.
    """
    cells = first_of(table, "product(s)")
    lines = [_LINE.findall(cell) if cell else [] for cell in cells]
    net = read_numbers(first_of(table, "net sales", "n. revenue")).values
    orders = pl.DataFrame(
        {
            "session_id": first_of(table, "order #"),
            "user": first_of(table, "customer"),
            "timestamp": first_of(table, "date"),
            "status": first_of(table, "status"),
            "event": pl.select(pl.when(net < 0).then(pl.lit("refund")).otherwise(pl.lit(PURCHASE))).to_series(),
            "item_id": [[name for _, name in each] for each in lines],
            "quantity": [[count for count, _ in each] for each in lines],
        },
        schema_overrides={"item_id": pl.List(pl.String), "quantity": pl.List(pl.String)},
    )
    filled = pl.col("item_id").list.len() > 0
    exploded = orders.with_columns(pl.when(filled).then(pl.col("item_id", "quantity"))).explode("item_id", "quantity")
    visit = pl.concat_str(pl.lit("guest-"), "session_id")
    return exploded.with_columns(
        pl.coalesce("user", visit).alias("user_id"), pl.col("user").is_not_null().alias("known_user")
    ).drop("user")


def _events(orders: pl.DataFrame, everything: pl.DataFrame) -> RowFilter:
    """Return events with the products that they name; orders that were not bought are left out."""
    lines = RowFilter(orders)
    for name in _STATUS:
        if name in orders.columns:
            status = as_text(orders[name]).str.to_lowercase().str.strip_prefix("wc-")
            lines.replace(name, status)
            why = f"The order is one of {', '.join(_NOT_BOUGHT)}."
            lines.drop("not_bought", why, pl.col(name).is_in(_NOT_BOUGHT))
            break
    named = as_ids(lines.frame["item_id"])
    keys = [
        look_up(named, everything.select(pl.col(column).alias("key"), pl.col("product").alias("item_id")))
        for column in ("id", "sku", "title")
    ]
    found = pl.select(pl.coalesce(*keys)).to_series()
    unknown = int((found.is_null() & named.is_not_null()).sum())
    lines.replace("item_id", pl.select(pl.coalesce(found, named)).to_series())
    if unknown:
        lines.note(f"{unknown:,} rows name an item by neither ID, SKU nor name of the products.")
    lines.frame = own_events_only(lines.frame)
    return lines


ADAPTER: Final = Adapter(
    name="woocommerce",
    description="WooCommerce: the CSV export of products, or a folder with it and a table of orders",
    licence=LICENCE,
    prepare=prepare,
)

"""Google Merchant: a product feed as tab-separated text or XML, with a table of events or orders if there is one.

Attributes: https://support.google.com/merchants/answer/7052112
XML: https://support.google.com/merchants/answer/160589 (RSS 2.0) and https://support.google.com/merchants/answer/160593
(Atom)

An item is a product of the feed, under its id; `item_group_id` stays an attribute of the variants. The category is the
shop's own `product_type`, or else Google's. The price is the sale's if the sale has no dates, or else the usual one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.adapters.shops.attributes import column_name
from pipeline.data.adapters.shops.exports import Exports, first_of, heading, read_exports
from pipeline.data.adapters.shops.merchant_xml import is_feed, read_feed
from pipeline.data.adapters.shops.shop_dataset import LICENCE, own_events_only, shop_dataset, take_own_events
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.ingest.row_filter import RowFilter

# A feed has an id, a title and attributes that no other kind of table has under these names.
HEADINGS: Final = {
    "products": tuple(
        {id_, title, sign}
        for id_, title in (("id", "title"), ("g:id", "title"), ("g:id", "g:title"))
        for sign in ("image_link", "image link", "g:image_link", "google_product_category", "google product category")
    )
}
# Whoever names the adapter may have a feed without these.
_ANY_FEED: Final = {"products": ({"id", "title"}, {"g:id", "g:title"}, {"g:id", "title"})}
# Attributes that describe the product rather than the offer; the others (links, shipping, taxes) are left out.
_ATTRIBUTES: Final = (
    "google_product_category",
    "item_group_id",
    "gtin",
    "mpn",
    "condition",
    "adult",
    "multipack",
    "is_bundle",
    "age_group",
    "color",
    "gender",
    "material",
    "pattern",
    "size",
    "size_type",
    "size_system",
    "custom_label_0",
    "custom_label_1",
    "custom_label_2",
    "custom_label_3",
    "custom_label_4",
)
_WHAT: Final = "a feed (.txt, .tsv or .xml) or the folder that has it"


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset of a feed, and of a table of events or orders in the same folder.

    Raises:
        BadDataset: There is no feed or it cannot be read, a table of events lacks columns, or no row is usable.
    """
    progress("reading products")
    exports = _read(data)
    rows = RowFilter(_items(_plain_names(exports.tables["products"])))
    progress("reading events")
    events = take_own_events(exports)
    cleaned = None if events is None else RowFilter(own_events_only(events))
    return shop_dataset(ADAPTER.name, exports, rows, cleaned, codes=_ATTRIBUTES)


def feed_files(data: Path) -> list[Path]:
    """Return the feeds in XML at a path."""
    return [file for file in (sorted(data.iterdir()) if data.is_dir() else [data]) if is_feed(file)]


def _read(data: Path) -> Exports:
    feeds = feed_files(data) if data.exists() else []
    exports = read_exports(data, _ANY_FEED, None if feeds else "products", _WHAT)
    if feeds:
        read = [_plain_names(read_feed(file)) for file in feeds]
        tables = [_plain_names(exports.tables["products"])] if "products" in exports.tables else []
        exports.tables["products"] = pl.concat([*tables, *read], how="diagonal")
        exports.files.setdefault("products", []).extend(feeds)
    lacks = {"id", "title"} - set(_plain_names(exports.tables["products"]).columns)
    if lacks:
        raise BadDataset(f"{exports.place('products')}: no product has the attribute {', '.join(sorted(lacks))}")
    return exports


def _plain_names(table: pl.DataFrame) -> pl.DataFrame:
    """Return a feed with Google's own names: `image link` and `g:image_link` are image_link."""
    named: dict[str, pl.Series] = {}
    for column in table.iter_columns():
        named.setdefault(heading(column.name).removeprefix("g:").replace(" ", "_"), column)
    return pl.DataFrame(named)


def _items(feed: pl.DataFrame) -> pl.DataFrame:
    on_sale = first_of(feed, "sale_price_effective_date").is_null()
    sale = first_of(feed, "sale_price")
    price = pl.select(pl.when(on_sale).then(sale)).to_series()
    return pl.DataFrame(
        {
            "item_id": feed["id"],
            "title": feed["title"],
            "brand": first_of(feed, "brand"),
            "category": first_of(feed, "product_type", "google_product_category"),
            "description": first_of(feed, "description"),
            "price": pl.select(pl.coalesce(price, first_of(feed, "price"))).to_series(),
            "available": first_of(feed, "availability"),
            **{column_name(name): feed[name] for name in _ATTRIBUTES if name in feed.columns},
        }
    )


ADAPTER: Final = Adapter(
    name="google-merchant",
    description="Google Merchant: a product feed (TSV or XML), or a folder with it and a table of events",
    licence=LICENCE,
    prepare=prepare,
)

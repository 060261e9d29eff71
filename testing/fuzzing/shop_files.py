"""Small exports of shops, with cells and bytes changed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CELLS: Final = (
    "", " ", '"', '""', "\0", ",", ";", "\t", "\n", "\r\n", "NaN", "null", "-1", "1e999", "٣", "1.234,56", "1,234.56",
    "$ 5", "9999-99-99", "2024-02-30 25:61:00", "0001-01-01", "999999999999999999", "-62135596800", "<b>x</b>", "&#0;",
    "é", "名前", "🙂", "a" * 3_000, "=1+1", "../x", "true", "item_id", "[]", "{", "2024-01-15T10:30:00+25:00",
)  # fmt: skip
_ITEMS: Final = (
    "item_id,title,price,brand,category,available\n1,Red tea,3.50,Leaf,Tea,true\n2,Blue cup,12.00,Clay,Cups,false\n"
    "3,Old pot,7.25,,Pots,\n4,Müsli,2.10,Leaf,Food,true\n"
)
_EVENTS: Final = (
    "user_id,item_id,event,timestamp,quantity\nann,1,purchase,2024-01-15 10:30:00,1\nann,2,view,2024-01-16 11:00:00,\n"
    "bob,3,purchase,2024-01-17 12:30:00,2\nbob,1,cart,2024-01-17 12:31:00,1\n"
)
_SEARCHES: Final = "user_id,query,timestamp\nann,red tea,2024-01-15 10:29:00\nbob,old pot,2024-01-17 12:29:00\n"
_JSON: Final = (
    '{"item_id": "1", "title": "Red tea", "price": 3.5, "tags": ["hot"]}\n'
    '{"item_id": "2", "title": "Blue cup", "price": null, "dimensions": {"width": 3}}\n'
)
_SHOPIFY: Final = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,"
    "Variant Inventory Qty,Variant Price,Status\nshirt,Linen Shirt,<p>Cool</p>,Loom,Apparel,Shirts,summer,true,Size,38,"
    "007,3,39.00,active\nshirt,,,,,,,,,40,0042,3,35.00,\nmug,Mug,,Clay,,Mugs,,true,Title,Default Title,,,9.50,active\n"
)
_SHOPIFY_ORDERS: Final = (
    "Name,Email,Financial Status,Paid at,Total,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,"
    "Cancelled at,Refunded Amount\n#1001,ann@example.com,paid,2024-01-15 10:30:00 -0500,79.50,2024-01-15 10:29:00 -0500"
    ",2,Linen Shirt - 40,35.00,0042,,0.00\n#1001,ann@example.com,,,,,1,Mug,9.50,,,\n"
)
_WOOCOMMERCE: Final = (
    "ID,Type,SKU,Name,Published,Description,In stock?,Stock,Sale price,Regular price,Categories,Parent\n"
    '10,variable,HOOD,Hoodie,1,<p>Soft</p>,1,,,,"Clothing, Clothing > Hoodies",\n'
    '11,variation,HOOD-B,Hoodie - Blue,1,,1,4,,"45,00",,id:10\n13,simple,0099,Cap,1,,0,,,"12,00",Clothing,\n'
)
_MERCHANT: Final = (
    "id\ttitle\tdescription\tprice\tsale price\tavailability\tbrand\tproduct type\n"
    "001\tTea\tGreen &amp; good\t15.00 USD\t12.50 USD\tin_stock\tLeaf\tHome > Tea\n"
    "002\tPot\t\t1,015.00 USD\t\tout_of_stock\t\t\n"
)
_MERCHANT_XML: Final = (
    '<?xml version="1.0"?>\n<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>\n'
    "<item><g:id>001</g:id><title>Tea</title><g:price>15.00 USD</g:price></item>\n"
    "<item><g:id>002</g:id><g:title><![CDATA[Pot & Co]]></g:title></item>\n</channel></rss>\n"
)
_GA4: Final = (
    '{"event_date": "20210131", "event_timestamp": "1612069510000000", "event_name": "view_item", "event_params": [{'
    '"key": "ga_session_id", "value": {"int_value": "66"}}], "user_pseudo_id": "1.2", "items": [{"item_id": "1", '
    '"item_name": "Hat", "price": 3.5}]}\n'
    '{"event_date": "20210131", "event_timestamp": "1612069511000000", "event_name": "purchase", "event_params": [], '
    '"user_pseudo_id": "1.2", "ecommerce": {"transaction_id": "T"}, "items": [{"item_id": "1", "quantity": "2"}]}\n'
)
_RATINGS: Final = "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,2,3.5,964981247\n2,1,5.0,964982224\n"
_MOVIES: Final = 'movieId,title,genres\n1,Toy Story (1995),Adventure|Comedy\n2,"Heat, The (1995)",Action\n'


@dataclass(frozen=True)
class Shop:
    """The files of a shop and the adapter that reads them.

    Attributes:
        adapter: The adapter's name.
        files: Their contents by name.
        folder: Whether the adapter is given the folder, or the first file.
    """

    adapter: str
    files: Mapping[str, str]
    folder: bool = True


SHOPS: Final = (
    Shop("table", {"items.csv": _ITEMS, "events.csv": _EVENTS}),
    Shop("table", {"items.csv": _ITEMS, "events.csv": _EVENTS, "searches.csv": _SEARCHES}),
    Shop("table", {"items.jsonl": _JSON, "events.csv": _EVENTS}),
    Shop("shopify", {"products_export_1.csv": _SHOPIFY, "orders_export_1.csv": _SHOPIFY_ORDERS}),
    Shop("woocommerce", {"wc-product-export-1-2-2024.csv": _WOOCOMMERCE}),
    Shop("google-merchant", {"feed.txt": _MERCHANT}, folder=False),
    Shop("google-merchant", {"feed.xml": _MERCHANT_XML}, folder=False),
    Shop("ga4", {"events.json": _GA4}, folder=False),
    Shop("movielens", {"ratings.csv": _RATINGS, "movies.csv": _MOVIES}),
)


def write_changed(chosen: random.Random, folder: Path) -> tuple[str, Path]:
    """Write a shop's files with something changed; returns the adapter and its data."""
    shop = chosen.choice(SHOPS)
    changed = chosen.choice(sorted(shop.files))
    for name, text in shop.files.items():
        content = _changed(chosen, text) if name == changed else text.encode()
        (folder / name).write_bytes(content)
    return shop.adapter, folder if shop.folder else folder / next(iter(shop.files))


def _changed(chosen: random.Random, text: str) -> bytes:
    if chosen.random() < 0.7:  # noqa: PLR2004 - mostly whole cells
        for _ in range(chosen.randint(1, 3)):
            text = _with_another_cell(chosen, text)
    content = text.encode(chosen.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252")), errors="replace")
    if chosen.random() < 0.3:  # noqa: PLR2004
        at = chosen.randrange(len(content) + 1)
        noise = chosen.randbytes(chosen.choice((0, 1, 2, 50)))
        content = content[:at] + noise + content[at + chosen.choice((0, len(noise), 200)) :]
    return content


def _with_another_cell(chosen: random.Random, text: str) -> str:
    """Replace, repeat, remove or swap a cell or a line."""
    lines = text.split("\n")
    at = chosen.randrange(len(lines))
    mark = next((mark for mark in ("\t", ",", "<", " ") if mark in lines[at]), ",")
    cells = lines[at].split(mark)
    cell = chosen.randrange(len(cells))
    match chosen.randrange(6):
        case 0:
            del lines[at]
            return "\n".join(lines)
        case 1:
            lines.insert(at, lines[at])
            return "\n".join(lines)
        case 2:
            del cells[cell]
        case 3:
            cells.insert(cell, chosen.choice(_CELLS))
        case _:
            cells[cell] = chosen.choice(_CELLS)
    lines[at] = mark.join(cells)
    return "\n".join(lines)

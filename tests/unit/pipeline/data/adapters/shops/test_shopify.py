"""Shopify's exports of products and orders become a dataset."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

PRODUCTS = """\
Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name,\
Option2 Value,Variant SKU,Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Price,\
Image Src,Status
linen-shirt,Linen Shirt,<p>A <b>cool</b> shirt &amp; more</p>,Loom,Apparel > Shirts,Shirts,"summer, linen",true,Size,\
38,Color,White,007,shopify,0,deny,39.00,a.jpg,active
linen-shirt,,,,,,,,,40,,White,0042,shopify,3,deny,35.00,,
linen-shirt,,,,,,,,,,,,,,,,,b.jpg,
mug,Mug,,Clay,,Mugs,,true,Title,Default Title,,,,,,deny,9.50,,active
hat,Old Hat,,Felt,,Hats,,false,Title,Default Title,,,'0099,shopify,1,deny,9.50,,draft
bag,Bag,,Felt,,Bags,,true,Title,Default Title,,,B,shopify,0,deny,9.50,,active
box,Box,,Felt,,Bags,,true,Title,Default Title,,,X,shopify,-2,continue,9.50,,active
"""
ORDERS = """\
Name,Email,Financial Status,Paid at,Total,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,\
Cancelled at,Refunded Amount
#1001,Ann@Example.com,paid,2024-01-15 10:30:00 -0500,79.50,2024-01-15 10:29:00 -0500,2,Linen Shirt - 40 / White,35.00,\
0042,,0.00
#1001,Ann@Example.com,,,,,1,Mug,9.50,,,
#1002,bob@example.com,refunded,2024-01-16 10:30:00 -0500,9.50,2024-01-16 10:30:00 -0500,1,Mug,9.50,,,9.50
#1003,bob@example.com,paid,,9.50,2024-01-17 10:30:00 -0500,1,Old Hat,9.50,0099,2024-01-17 11:30:00 -0500,0.00
#1003,bob@example.com,,,,,1,Mug,9.50,,,
#1004,,partially_refunded,2024-01-18 10:30:00 -0500,37,2024-01-18 10:30:00 -0500,1,Linen Shirt - 44 / Blue,35.00,GONE,,2
#1004,,,,,,1,Gift wrap,2.00,,,
#1005,bob@example.com,paid,,9.50,2024-01-19 10:30:00 -0500,1,Mug,9.50,,,9.50
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Write both exports under the names that Shopify gives them."""
    (tmp_path / "products_export_1.csv").write_text(PRODUCTS)
    (tmp_path / "orders_export_1.csv").write_text(ORDERS)
    return tmp_path


def test_a_product_is_one_item(shop: Path, left_out: Callable[[Dataset, str], dict[str, int]]):
    """Its further rows give the lowest price and the values of options; texts lose their markup."""
    dataset = prepare("shopify", shop)
    shirt = dataset.items.filter(dataset.items["item_id"] == "linen-shirt").row(0, named=True)
    assert shirt == {
        "item_id": "linen-shirt",
        "title": "Linen Shirt",
        "brand": "Loom",
        "category": "Apparel > Shirts",
        "description": "A cool shirt & more",
        "price": 35.0,
        "language": None,
        "available": True,
        "color": "White",
        "size": "38, 40",
        "tags": "summer, linen",
        "type": "Shirts",
    }
    assert left_out(dataset, "items") == {"further_row": 2}


def test_what_cannot_be_bought_is_not_available(shop: Path):
    """Drafts and variants that ran out; but not what is not counted, or may be sold beyond the stock."""
    items = prepare("shopify", shop).items
    assert dict(items.select("item_id", "available").iter_rows()) == {
        "linen-shirt": True,
        "mug": True,
        "hat": False,
        "bag": False,
        "box": True,
    }


def test_lines_of_orders_are_purchases(shop: Path, left_out: Callable[[Dataset, str], dict[str, int]]):
    """Lines find items by SKU or name, and get the order's user and time; cancelled and refunded orders are counted."""
    dataset = prepare("shopify", shop)
    first, second = (datetime(2024, 1, day, 15, minute) for day, minute in ((15, 29), (18, 30)))  # noqa: DTZ001
    columns = ("user_id", "item_id", "event", "timestamp", "value", "quantity", "session_id", "known_user")
    assert dataset.events.select(columns).rows() == [
        ("ann@example.com", "linen-shirt", "purchase", first, 70.0, 2.0, "#1001", True),
        ("ann@example.com", "mug", "purchase", first, 9.5, 1.0, "#1001", True),
        ("guest-#1004", "linen-shirt", "purchase", second, 35.0, 1.0, "#1004", False),
    ]
    assert left_out(dataset, "events") == {"cancelled_order": 2, "refunded_order": 2, "unknown_item": 1}
    assert dataset.report.tables["events"].notes == [
        "1 orders were refunded in part; the export does not name the lines, so all of them count.",
        "2 lines of orders have no SKU of the products and found their item by name.",
    ]


def test_overlapping_parts_count_once(shop: Path, left_out: Callable[[Dataset, str], dict[str, int]]):
    """An order that is in two parts of the export is one order."""
    once = prepare("shopify", shop).events
    (shop / "orders_export_2.csv").write_text(ORDERS)
    dataset = prepare("shopify", shop)
    assert dataset.events.equals(once)
    assert left_out(dataset, "events")["repeated_id"] == 3


def test_a_sku_of_two_products_names_neither(shop: Path):
    """The line's name decides then."""
    (shop / "products_export_1.csv").write_text(PRODUCTS.replace(",B,shopify", ",0042,shopify"))
    assert prepare("shopify", shop).events["item_id"].to_list() == ["linen-shirt", "mug", "linen-shirt"]


def test_products_alone_are_enough(tmp_path: Path):
    """The newer headings are read as well, and a single file."""
    file = tmp_path / "products.csv"
    file.write_text("Title,URL handle,Description,Vendor,SKU,Price,Status\nMug,mug,Holds tea,Clay,M1,9.50,Active\n")
    dataset = prepare("shopify", file)
    assert dataset.items.select("item_id", "title", "description", "price", "available").rows() == [
        ("mug", "Mug", "Holds tea", 9.5, True)
    ]
    assert dataset.events.is_empty()


def test_a_folder_without_products_is_refused(shop: Path):
    """The message names the headings that are missing and what was found."""
    (shop / "products_export_1.csv").unlink()
    with pytest.raises(BadDataset, match=r"holds no table of products with .*handle.*: found orders_export_1\.csv"):
        prepare("shopify", shop)


def test_a_column_that_cannot_be_read_is_refused(shop: Path):
    """The message shows the file and cells."""
    (shop / "products_export_1.csv").write_text("Handle,Title,Variant Price\na,A,cheap\nb,B,dear\n")
    with pytest.raises(BadDataset, match=r"products_export_1\.csv: 2 of 2 cells of the column 'price'.*'cheap'"):
        prepare("shopify", shop)

"""WooCommerce's export of products, with a table of orders, becomes a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

PRODUCTS = r"""ID,Type,SKU,Name,Published,"Is featured?","Short description",Description,"Date sale price ends","In stock?",Stock,"Sale price","Regular price",Categories,Tags,Parent,"Attribute 1 name","Attribute 1 value(s)","Attribute 2 name","Attribute 2 value(s)"
10,variable,HOOD,Hoodie,1,0,Warm,"<p>Soft\n fleece</p>",,1,,,,"Clothing, Clothing > Hoodies, Gifts\, small",winter,,Color,"Blue, Green",Brand,Loom
11,variation,HOOD-B,Hoodie - Blue,1,0,,,,1,4,,"45,00",,,id:10,Color,Blue,,
12,variation,HOOD-G,Hoodie - Green,1,0,,,,0,0,"39,50","45,00",,,HOOD,Color,Green,,
13,simple,0099,Cap,1,0,,,,0,,,"12,00",Clothing,,,,,,
14,simple,S4,Sale Cap,1,0,,,2024-06-01,backorder,,"9,00","12,00",Clothing,,,,,,
15,"simple, virtual",,Hidden,0,0,,,,1,,,"1.200,00",,,,,,,
16,variation,LOST,Lost - Red,1,0,,,,1,,,"8,00",,,id:99,Color,Red,,
13,simple,0099,Cap again,1,0,,,,0,,,"12,00",Clothing,,,,,,
"""  # noqa: E501 - one line is one row
ORDERS = """order_id,status,customer_id,date,sku,qty
1,wc-completed,7,2024-02-13 10:00:00,HOOD-B,1
2,wc-refunded,7,2024-02-14 10:00:00,0099,1
3,processing,8,2024-02-15 10:00:00,0099,1
4,processing,8,2024-02-16 10:00:00,12,1
5,processing,8,2024-02-17 10:00:00,Cap,2
6,processing,8,2024-02-18 10:00:00,gone,1
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Write an export as WooCommerce names it, and a table of orders."""
    (tmp_path / "wc-product-export-1-2-2024.csv").write_text(PRODUCTS)
    (tmp_path / "orders.csv").write_text(ORDERS)
    return tmp_path


def test_variations_belong_to_their_product(shop: Path, left_out: Callable[[Dataset, str], dict[str, int]]):
    """A product has the lowest price of its variations, its deepest category, and attributes as columns."""
    dataset = prepare("woocommerce", shop)
    assert dataset.items.row(0, named=True) == {
        "item_id": "10",
        "title": "Hoodie",
        "brand": "Loom",
        "category": "Clothing > Hoodies",
        "description": "Warm Soft fleece",
        "price": 39.5,
        "language": None,
        "available": True,
        "color": "Blue, Green",
        "sku": "HOOD",
        "tags": "winter",
    }
    assert left_out(dataset, "items") == {"repeated_id": 1, "variation": 2}


def test_stock_and_prices_are_read(shop: Path):
    """A sale that ends counts for nothing, a variation without its product is an item, hidden products stay known."""
    items = prepare("woocommerce", shop).items
    assert items.select("item_id", "price", "available").rows() == [
        ("10", 39.5, True),
        ("13", 12.0, False),
        ("14", 12.0, True),
        ("15", 1200.0, False),
        ("16", 8.0, True),
    ]


def test_orders_find_products(shop: Path, left_out: Callable[[Dataset, str], dict[str, int]]):
    """By SKU, ID or name, also of a variation; orders that were not paid are counted."""
    dataset = prepare("woocommerce", shop)
    assert dataset.events.select("user_id", "item_id", "event", "quantity").rows() == [
        ("7", "10", "purchase", 1.0),
        ("8", "13", "purchase", 1.0),
        ("8", "10", "purchase", 1.0),
        ("8", "13", "purchase", 2.0),
    ]
    assert left_out(dataset, "events") == {"not_bought": 1, "unknown_item": 1}


def test_a_table_of_orders_without_items_is_refused(shop: Path):
    """The message names the file, the column that is missing and those that are there."""
    (shop / "orders.csv").write_text("order_id,customer_id,date\n1,7,2024-02-13\n")
    with pytest.raises(BadDataset, match=r"orders\.csv: no column looks like item_id among order_id, customer_id"):
        prepare("woocommerce", shop)


def test_other_tables_are_named(shop: Path):
    """A table that nothing reads is in the report's notes."""
    (shop / "stores.csv").write_text("city,street\nUlm,Hof\n")
    assert prepare("woocommerce", shop).report.notes == ["stores.csv in the folder was not read."]


def test_orders_of_analytics(shop: Path, left_out: Callable[[Dataset, str], dict[str, int]]):
    """A cell names several products with their counts; a name may hold a comma, and a guest is a visit."""
    (shop / "orders.csv").write_text(
        "Date,Order #,N. Revenue (formatted),Status,Customer,Customer type,Product(s),Items sold,Coupon(s),Net Sales\n"
        '2024-02-13 10:00:00,1,"€99,00",completed,Ann Li,new,"2× Hoodie - Blue, 1× Cap",3,,"99,00"\n'
        '2024-02-14 10:00:00,2,"€12,00",processing,,new,1× Cap,1,,"12,00"\n'
        '2024-02-15 10:00:00,3,"€12,00",cancelled,Bo,new,1× Cap,1,,"12,00"\n'
        '2024-02-16 10:00:00,1,"-€12,00",completed,Ann Li,returning,1× Cap,-1,,"-12,00"\n'
    )
    dataset = prepare("woocommerce", shop)
    assert dataset.events.select("user_id", "item_id", "quantity", "known_user").rows() == [
        ("Ann Li", "10", 2.0, True),
        ("guest-2", "13", 1.0, False),
    ]
    counts = left_out(dataset, "events")
    assert {reason: rows for reason, rows in counts.items() if rows} == {
        "not_bought": 1,
        "refund": 1,
        "refunded_purchase": 1,
    }
    assert any("customers of one name count as one" in note for note in dataset.report.tables["events"].notes)

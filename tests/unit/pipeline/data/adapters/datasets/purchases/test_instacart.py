"""Instacart's orders become purchases with positions."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.schema import BadDataset

FILES = {
    "products.csv": """product_id,product_name,aisle_id,department_id
1,Chocolate Sandwich Cookies,61,19
2,"All-Seasons Salt, Fine",104,13
3,Robust Golden Unsweetened Oolong Tea,94,7
""",
    "aisles.csv": "aisle_id,aisle\n61,cookies cakes\n104,spices seasonings\n",
    "departments.csv": "department_id,department\n19,snacks\n13,pantry\n7,beverages\n",
    "orders.csv": """order_id,user_id,eval_set,order_number,order_dow,order_hour_of_day,days_since_prior_order
11,1,prior,2,3,07,15.0
10,1,prior,1,2,08,
12,1,train,3,3,12,30.0
13,2,test,1,3,12,
""",
    "order_products__prior.csv": """order_id,product_id,add_to_cart_order,reordered
11,1,1,1
10,2,2,0
10,1,1,0
99,1,1,0
10,9,3,0
10,3,last,0
""",
    "order_products__train.csv": "order_id,product_id,add_to_cart_order,reordered\n12,3,1,0\n",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with the six files."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_products_have_department_and_aisle(data: Path):
    """A category is a path; one without an aisle is its department."""
    assert prepare("instacart", data).items.select("item_id", "title", "category").rows() == [
        ("1", "Chocolate Sandwich Cookies", "snacks > cookies cakes"),
        ("2", "All-Seasons Salt, Fine", "pantry > spices seasonings"),
        ("3", "Robust Golden Unsweetened Oolong Tea", "beverages"),
    ]


def test_purchases_have_positions(data: Path):
    """They count by the number of the order, then by the place in the cart; there are no times."""
    dataset = prepare("instacart", data)
    assert dataset.order_column == "position"
    events = dataset.events.sort("position")
    assert events.select("user_id", "item_id", "session_id").rows() == [
        ("1", "1", "10"),
        ("1", "2", "10"),
        ("1", "1", "11"),
        ("1", "3", "12"),
    ]
    assert events["position"].is_unique().all()


def test_unusable_lines_are_counted(data: Path):
    """A line without an order, of an unknown product, or without a place is left out."""
    report = prepare("instacart", data).report.tables["events"]
    assert (report.rows_in, report.rows_out) == (7, 4)
    assert report.dropped["unknown_item"].rows == 1
    assert report.unreadable["place"].examples == ["last"]


def test_only_the_lines_for_training_are_optional(data: Path):
    """Another missing file is named."""
    (data / "order_products__train.csv").unlink()
    assert prepare("instacart", data).events.height == 3
    (data / "aisles.csv").unlink()
    with pytest.raises(BadDataset, match=r"holds no aisles\.csv"):
        prepare("instacart", data)

"""Lines of Shopify's orders become purchases."""

from __future__ import annotations

import polars as pl
import pytest

from pipeline.data.adapters.shops.shopify_orders import read_orders
from pipeline.data.ingest.row_filter import RowFilter

FINDER = {
    "sku": pl.DataFrame({"key": ["S1"], "item_id": ["shirt"]}),
    "name": pl.DataFrame({"key": ["Shirt", "Shirt - Red", "T-Shirt"], "item_id": ["shirt", "shirt", "tee"]}),
}
ORDER = {"name": "#1", "email": "A@x.y", "created at": "2024-01-01", "lineitem name": "Shirt", "lineitem sku": "S1"}


def _read(*changes: dict[str, str | None]) -> RowFilter:
    rows = [{**ORDER, **change} for change in changes]
    names = dict.fromkeys(name for row in rows for name in row)
    return read_orders(pl.DataFrame(rows, dict.fromkeys(names, pl.String)), FINDER)


@pytest.mark.parametrize(
    ("sku", "title", "item"),
    [
        ("S1", "Whatever", "shirt"),
        ("'S1", "Whatever", "shirt"),
        ("gone", "Shirt - Red", "shirt"),
        (None, "Shirt - Blue / M", "shirt"),
        (None, "T-Shirt", "tee"),
        (None, "Wrap", None),
    ],
)
def test_a_line_finds_its_item(sku: str | None, title: str, item: str | None):
    """By SKU, by the name of the variant, or by the name of the product before the last dash."""
    assert _read({"lineitem sku": sku, "lineitem name": title}).frame["item_id"].to_list() == ([item] if item else [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cancelled at": "2024-01-02"}, "cancelled_order"),
        ({"financial status": "voided"}, "cancelled_order"),
        ({"financial status": "refunded"}, "refunded_order"),
        ({"total": "9.00", "refunded amount": "9.00"}, "refunded_order"),
        ({"total": "9.00", "refunded amount": "2.00"}, None),
        ({"financial status": "pending"}, None),
        ({"lineitem sku": None, "lineitem name": None}, "no_line_item"),
    ],
)
def test_orders_that_are_no_purchases_are_counted(change: dict[str, str | None], reason: str | None):
    """Each under its reason; a refund of a part leaves the purchase."""
    dropped = _read(change).report().dropped
    assert [name for name, part in dropped.items() if part.rows] == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("change", "user", "known"),
    [
        ({}, "a@x.y", True),
        ({"customer id": "77"}, "77", True),
        ({"email": None, "phone": "+49 1"}, "+49 1", True),
        ({"email": None}, "guest-#1", False),
    ],
)
def test_the_user_is_the_customer(change: dict[str, str | None], user: str, *, known: bool):
    """By id, e-mail address or telephone; otherwise the order is a visit."""
    assert _read(change).frame.select("user_id", "known_user").rows() == [(user, known)]


def test_further_lines_belong_to_the_order_above():
    """Also if they leave the order's own name empty."""
    further = {"name": None, "email": None, "created at": None, "lineitem sku": None, "lineitem name": "T-Shirt"}
    lines = _read({}, further, {"name": "#2", "email": "b@x.y"}).frame
    assert lines.select("user_id", "item_id", "timestamp", "session_id").rows() == [
        ("a@x.y", "shirt", "2024-01-01", "#1"),
        ("a@x.y", "tee", "2024-01-01", "#1"),
        ("b@x.y", "shirt", "2024-01-01", "#2"),
    ]

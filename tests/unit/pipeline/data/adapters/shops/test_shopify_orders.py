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


@pytest.mark.parametrize(
    ("column", "units", "left"),
    [
        ("lineitem refunded quantity", "2", []),
        ("lineitem refunded quantity", "1", [("1.0", 9.0)]),
        ("lineitem refunded quantity", "0", [("2", 18.0)]),
        ("lineitem current quantity", "0", []),
        ("lineitem current quantity", "2", [("2", 18.0)]),
    ],
)
def test_refunded_lines_do_not_count_if_the_export_tells_them(column: str, units: str, left: list[tuple[str, float]]):
    """Of an order that was refunded in part, what was given back is subtracted, and the other lines stay."""
    part = {"financial status": "partially_refunded", "lineitem price": "9.00", "lineitem quantity": "2"}
    lines = _read({**part, column: units}, {**part, "lineitem name": "T-Shirt", "lineitem sku": None, column: None})
    shirts = lines.frame.filter(pl.col("item_id") == "shirt")
    assert shirts.select("quantity", "value").rows() == left
    assert lines.frame.filter(pl.col("item_id") == "tee").height == 1
    assert lines.report().dropped["refunded_line"].rows == (0 if left else 1)
    is_told = units != "0" if "refunded" in column else units == "0"
    assert len(lines.report().notes) == (1 if is_told else 2)  # the other note: a line found by name


def test_rows_of_refunds_take_lines_back():
    """Matrixify writes a row for each; two lines of one product share what came back."""
    order = {
        "name": "#1",
        "customer: email": "a@x.y",
        "created at": "2024-01-01",
        "payment: status": "partially_refunded",
    }
    rows = [
        ("Line Item", "Shirt", "S1", "1"),
        ("Line Item", "Shirt", "S1", "2"),
        ("Line Item", "T-Shirt", None, "1"),
        ("Refund Line", "Shirt", "S1", "-2"),
        ("Shipping Line", "Post", None, "1"),
    ]
    names = ("line: type", "line: title", "line: sku", "line: quantity")
    table = pl.DataFrame([{**order, **dict(zip(names, row, strict=True))} for row in rows])
    lines = read_orders(table, FINDER)
    assert lines.frame.select("item_id", "quantity").rows() == [("shirt", "1.0"), ("tee", "1")]
    counts = {reason: part.rows for reason, part in lines.report().dropped.items() if part.rows}
    assert counts == {"no_line_item": 1, "refund_line": 1, "refunded_line": 1}

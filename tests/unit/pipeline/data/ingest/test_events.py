"""Events as shops write them, cleaned."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from pipeline.data.ingest.events import clean_events
from pipeline.data.ingest.row_filter import RowFilter

ITEMS = pl.DataFrame({"item_id": ["a", "b", "c"]})
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def _clean(*rows: tuple[object, ...], columns: tuple[str, ...] = ("quantity",)) -> RowFilter:
    names = ("user_id", "item_id", "event", "timestamp", *columns)
    text = [[None if cell is None else str(cell) for cell in row] for row in rows]
    return clean_events(pl.DataFrame(text, schema=dict.fromkeys(names, pl.String), orient="row"), ITEMS, now=NOW)


def _kept(events: RowFilter) -> list[tuple[str, str, str]]:
    return events.frame.select("user_id", "item_id", "event").rows()


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("Add to Cart", "cart"),
        ("transaction", "purchase"),
        ("pv", "view"),
        ("RETURNED", "refund"),
        ("unboxing", "unboxing"),
    ],
)
def test_kinds_have_one_word(word: str, kind: str):
    """Words of shops and analytics become the dataset's; unknown words stay."""
    purchase = ("u", "a", "buy", 1_700_000_000, 2)
    kept = _kept(_clean(purchase, ("u", "b", word, 1_700_000_001, 1)))
    assert kept == [("u", "a", "purchase")] + ([] if kind == "refund" else [("u", "b", kind)])


def test_views_need_no_quantity():
    """Only a purchase of nothing is none."""
    events = _clean(("u", "a", "view", 1_700_000_000, 0), ("u", "a", "purchase", 1_700_000_000, 0))
    assert _kept(events) == [("u", "a", "view")]
    assert events.report().dropped["no_quantity"].rows == 1


def test_a_refund_takes_the_latest_purchase_back():
    """Neither counts; a purchase of more than was given back stays, and so do other users' and later ones."""
    events = _clean(
        ("u", "a", "purchase", 1_700_000_000, 1),
        ("u", "a", "purchase", 1_700_000_100, 1),
        ("u", "a", "refund", 1_700_000_200, -1),
        ("u", "a", "purchase", 1_700_000_300, 1),
        ("v", "a", "purchase", 1_700_000_000, 3),
        ("v", "a", "purchase", 1_700_000_500, -2),
        ("w", "b", "refund", 1_700_000_000, None),
    )
    kept = events.frame.select("user_id", pl.col("timestamp").dt.epoch("s")).rows()
    assert kept == [("u", 1_700_000_000), ("u", 1_700_000_300), ("v", 1_700_000_000)]
    dropped = events.report().dropped
    assert (dropped["refund"].rows, dropped["refunded_purchase"].rows) == (3, 1)


def test_a_refund_of_a_fraction_leaves_the_rest_bought():
    """A purchase goes if refunds take back all of it, whatever rounding leaves."""
    part = _clean(("u", "a", "purchase", 1_700_000_000, 0.5), ("u", "a", "refund", 1_700_000_100, 0.25))
    assert _kept(part) == [("u", "a", "purchase")]
    refunds = [("u", "a", "refund", 1_700_000_000 + second, 0.1) for second in (1, 2, 3)]
    assert _kept(_clean(("u", "a", "purchase", 1_700_000_000, 0.3), *refunds)) == []


def test_a_refund_ignores_purchases_of_nothing():
    """It takes back the purchase before one of quantity zero."""
    events = _clean(
        ("u", "a", "purchase", 1_700_000_000, 1),
        ("u", "a", "purchase", 1_700_000_100, 0),
        ("u", "a", "refund", 1_700_000_200, 1),
    )
    assert _kept(events) == []


def test_kinds_without_a_known_meaning_are_named():
    """A word that could mean a purchase counts as none, and the report names it."""
    events = _clean(("u", "a", "Kauf", 1_700_000_000, 1), ("u", "b", "view", 1_700_000_000, 1))
    assert events.report().notes == [
        "1 kinds of event have no known meaning and count as no purchase: 'kauf' (1 rows)."
    ]


@pytest.mark.parametrize(
    ("items", "written", "expected"),
    [(["1.0", "1.5"], ["1.0", "1.0"], ["1.0", "1.0"]), (["1", "2"], ["1.0", "2"], ["1", "2"])],
)
def test_ids_of_items_are_those_of_the_items(items: list[str], written: list[str], expected: list[str]):
    """An id that the items have stays; one with a fraction of zero means the item without it."""
    frame = pl.DataFrame({"user_id": ["u", "v"], "item_id": written, "event": "view", "timestamp": 1_700_000_000})
    assert clean_events(frame, pl.DataFrame({"item_id": items})).frame["item_id"].to_list() == expected


def test_further_columns_may_have_any_name_and_type():
    """Dates become text, and no name collides with what cleaning adds."""
    frame = pl.DataFrame(
        {"user_id": "u", "item_id": "a", "event": ["purchase", "refund"], "timestamp": [1_700_000_000, 1_700_000_001]}
    )
    further = frame.with_columns(pl.lit(NOW.date()).alias("day"), pl.lit(None).alias("_row"), _outside=1)
    assert clean_events(further, ITEMS).frame.height == 0
    assert clean_events(further.head(1), ITEMS).frame["day"].to_list() == ["2026-06-01"]


def test_nobody_is_no_user_and_impossible_times_are_counted():
    """Events of NA, without a time, and of another century are left out, each under its reason."""
    events = _clean(
        ("NA", "a", "view", 1_700_000_000, 1),
        ("u", "a", "view", "soon", 1),
        ("u", "a", "view", "2137-01-01", 1),
        ("u" * 257, "a", "view", 1_700_000_000, 1),
        ("u", "a", "view", 1_700_000_000, 1),
    )
    assert _kept(events) == [("u", "a", "view")]
    counts = {reason: dropped.rows for reason, dropped in events.report().dropped.items() if dropped.rows}
    assert counts == {"impossible_timestamp": 1, "no_timestamp": 1, "no_user": 1, "long_id": 1}
    assert events.report().unreadable["timestamp"].examples == ["soon", "2137-01-01"]


def test_an_order_of_days_that_nothing_proves_is_told():
    """The report says which was taken and how to set it."""
    (note,) = _clean(("u", "a", "view", "1/2/2024", 1)).report().notes
    assert "month first" in note
    assert "day_order" in note


def test_bots_and_tills_are_cut_and_named():
    """Of a user's events of one kind on one day, the latest count; other days, kinds and users stay as they are."""
    rows = [("till", "a", "purchase", 1_700_000_000 + second, None) for second in range(5)]
    rows += [("till", "a", "view", 1_700_000_000, None), ("till", "a", "purchase", 1_700_100_000, None)]
    rows += [("u", "a", "purchase", 1_700_000_000 + second, None) for second in range(3)]
    names = ("user_id", "item_id", "event", "timestamp", "quantity")
    frame = pl.DataFrame(rows, schema=names, orient="row")
    events = clean_events(frame, ITEMS, now=NOW, max_daily_events=3)
    till = events.frame.filter((pl.col("user_id") == "till") & (pl.col("event") == "purchase"))["timestamp"]
    assert till.dt.epoch("s").to_list() == [1_700_000_002, 1_700_000_003, 1_700_000_004, 1_700_100_000]
    assert (events.frame.height, events.report().dropped["over_daily_limit"].rows) == (8, 2)
    assert events.report().notes == [
        "Users with more than 3 events of a kind on a day, bots or tills: 1, such as 'till' with 5."
    ]


def test_equal_rows_are_found_whatever_else_is_there():
    """The first of equal rows stays; a row that differs in one cell, or is empty there, is another one."""
    rows = [("u", "a", "view", 1_700_000_000, 1), ("u", "a", "view", 1_700_000_000, None)]
    rows += [("u", "a", "view", 1_700_000_000, 2), ("v", "a", "view", 1_700_000_000, 1)]
    events = _clean(*rows, *rows, rows[0])
    assert events.frame.height == len(rows)
    assert events.report().dropped["repeated_row"].rows == len(rows) + 1

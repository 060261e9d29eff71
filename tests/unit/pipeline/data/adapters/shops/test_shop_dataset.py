"""Items and events of an export become a dataset, with the shop's own events if it has any."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.data.adapters.shops.exports import Exports
from pipeline.data.adapters.shops.shop_dataset import own_events_only, shop_dataset, take_own_events
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.ingest.row_filter import RowFilter

ORDERS = pl.DataFrame({"Customer": ["c"], "SKU": ["1"], "Order date": ["2024-02-13"], "Status": ["paid"]})


def test_a_table_named_orders_goes_before_larger_ones():
    """Its columns get our names by their roles; without one for what happened its rows are purchases."""
    exports = Exports(Path(), others={Path("visits.csv"): pl.concat([ORDERS] * 2), Path("orders.csv"): ORDERS})
    events = take_own_events(exports)
    assert events is not None
    assert events.to_dicts() == [
        {"user_id": "c", "item_id": "1", "timestamp": "2024-02-13", "Status": "paid", "event": "purchase"}
    ]
    assert own_events_only(events).columns == ["user_id", "item_id", "event", "timestamp"]
    assert list(exports.others) == [Path("visits.csv")]


def test_without_names_the_largest_table_of_events_counts():
    """Tables without users, items and times are none."""
    exports = Exports(Path(), others={Path("a.csv"): ORDERS, Path("b.csv"): pl.concat([ORDERS] * 2)})
    events = take_own_events(exports)
    assert events is not None
    assert events.height == 2
    assert take_own_events(Exports(Path(), others={Path("c.csv"): pl.DataFrame({"a": ["1"]})})) is None


def test_what_was_left_out_before_is_in_the_report():
    """The adapter's own reasons come first, and files that nothing read are named."""
    items = RowFilter(pl.DataFrame({"item_id": ["1", "2", "3"], "title": ["Tea", "Pot", None]}))
    items.drop("hidden", "It is hidden.", pl.col("item_id") == "2")
    exports = Exports(Path("shop"), others={Path("shop/x.csv"): ORDERS}, notes=["First."])
    report = shop_dataset("mine", exports, items, None).report
    counts = {reason: part.rows for reason, part in report.tables["items"].dropped.items() if part.rows}
    assert counts == {"hidden": 1, "no_title": 1}
    assert report.notes == ["First.", "x.csv in the folder was not read."]


def test_headings_without_a_row_are_refused():
    """The message names the file."""
    empty = RowFilter(pl.DataFrame(schema={"item_id": pl.String, "title": pl.String}))
    exports = Exports(Path("shop"), files={"products": [Path("shop/p.csv")]})
    with pytest.raises(BadDataset, match=r"p\.csv has names of columns and no row"):
        shop_dataset("mine", exports, empty, None)

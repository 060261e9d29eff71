"""The months of REES46 become events of items with brand, category and price."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.schema import BadDataset

HEADING = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
OCTOBER = """2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde
2019-10-01 00:00:01 UTC,cart,3900821,2053013552326770905,appliances.water_heater,aqua,33.20,5547,93
2019-10-01 00:00:02 UTC,remove_from_cart,3900821,2053013552326770905,appliances.water_heater,aqua,33.20,5547,93
2019-10-01 00:00:04 UTC,view,1306421,2053013558920217191,,,514.56,513642368,17566c27
"""
DECEMBER = "2019-12-01 00:00:00 UTC,view,3900821,2053013552326770905,,aqua,30.00,554748717,other\n"
NOVEMBER = "2019-11-01 00:00:00 UTC,purchase,3900821,2053013552326770905,appliances.water_heater,aqua,31.00,5,s\n"


@pytest.fixture
def months(tmp_path: Path) -> Path:
    """Return a folder of three months."""
    for name, rows in (("2019-Oct", OCTOBER), ("2019-Nov", NOVEMBER), ("2019-Dec", DECEMBER)):
        (tmp_path / f"{name}.csv").write_text(HEADING + rows)
    return tmp_path


def test_items_have_what_was_stated_last(months: Path):
    """Months are ordered by their times, not by their files; codes become paths, empty cells state nothing."""
    items = prepare("rees46", months).items.select("item_id", "title", "brand", "category", "price")
    assert items.rows() == [
        ("1306421", "Item 1306421", None, "Category 2053013558920217191", 514.56),
        ("3900821", "aqua water heater 3900821", "aqua", "appliances > water heater", 30.0),
        ("44600062", "shiseido 44600062", "shiseido", "Category 2103807459595387724", 35.79),
    ]


def test_removals_are_left_out(months: Path):
    """Views, carts and purchases count, with the word UTC in their times."""
    dataset = prepare("rees46", months)
    assert sorted(dataset.events["event"]) == ["cart", "purchase", "view", "view", "view"]
    assert dataset.events["timestamp"].min() == datetime(2019, 10, 1)  # noqa: DTZ001 - datasets have no zone
    assert dataset.report.tables["events"].dropped["removal"].rows == 1


def test_one_month_is_enough(months: Path):
    """A file alone is read alone."""
    assert prepare("rees46", months / "2019-Nov.csv").events.height == 1


def test_a_missing_column_and_an_empty_folder_are_refused(tmp_path: Path):
    """The message names the file, the column and the columns found, or what to name."""
    with pytest.raises(BadDataset, match=r"holds no month such as 2019-Oct\.csv; name the file or the folder"):
        prepare("rees46", tmp_path)
    (tmp_path / "2019-Oct.csv").write_text("event_time,user_id\n2019-10-01,1\n")
    with pytest.raises(BadDataset, match=r"2019-Oct\.csv lacks the column 'brand'.*found are event_time, user_id"):
        prepare("rees46", tmp_path)

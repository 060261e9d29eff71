"""Diginetica's visits become events of items known by number."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.schema import BadDataset

FILES = {
    "train-item-views.csv": """sessionId;userId;itemId;timeframe;eventdate
1;NA;81766;526309;2016-05-09
1;NA;31331;1031018;2016-05-09
2;18278;32118;243569;2016-05-10
2;NA;31331;250000;2016-05-10
3;NA;99;1;2016-05-10
""",
    "train-purchases.csv": """sessionId;userId;timeframe;eventdate;ordernumber;itemId
2;18278;300000;2016-05-10;16421;32118
2;18278;soon;yesterday;16421;31331
""",
    "products.csv": """itemId;pricelog2;product.name.tokens
81766;10;4875,776,56689
31331;9.5;4875
32118;;
""",
    "product-categories.csv": "itemId;categoryId\n81766;1096\n31331;1096\n",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with the four files."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_items_have_numbers_prices_and_hashed_words(data: Path):
    """The price is a power of two; the words of a name are its description."""
    items = prepare("diginetica", data).items
    assert items.select("item_id", "title", "category", "description").rows() == [
        ("31331", "Item 31331", "Category 1096", "4875"),
        ("32118", "Item 32118", None, None),
        ("81766", "Item 81766", "Category 1096", "4875 776 56689"),
    ]
    assert items["price"].to_list() == [pytest.approx(724.077), None, 1024.0]


def test_a_visit_without_a_user_is_one(data: Path):
    """A user that a visit names once is that of the whole visit; times count from the day."""
    dataset = prepare("diginetica", data)
    assert dataset.events.select("user_id", "item_id", "event", "known_user").rows() == [
        ("18278", "32118", "view", True),
        ("18278", "31331", "view", True),
        ("18278", "32118", "purchase", True),
        ("session-1", "81766", "view", False),
        ("session-1", "31331", "view", False),
    ]
    assert dataset.events["timestamp"][2] == datetime(2016, 5, 10, 0, 5)  # noqa: DTZ001 - datasets have no zone


def test_unusable_events_are_counted_and_shown(data: Path):
    """An unknown item and an unreadable time are left out."""
    events = prepare("diginetica", data).report.tables["events"]
    assert {name: part.rows for name, part in events.dropped.items() if part.rows} == {
        "no_timestamp": 1,
        "unknown_item": 1,
    }
    assert {name: cells.examples for name, cells in events.unreadable.items()} == {
        "timestamp": ["yesterday"],
        "timeframe": ["soon"],
    }


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named(data: Path, missing: str):
    """Each of the four is needed."""
    (data / missing).unlink()
    with pytest.raises(BadDataset, match=f"holds no {missing}"):
        prepare("diginetica", data)

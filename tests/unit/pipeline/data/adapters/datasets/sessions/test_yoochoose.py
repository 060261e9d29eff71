"""Yoochoose's visits become events of items known by number."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.schema import BadDataset

CLICKS = """1,2014-04-07T10:51:09.277Z,214536502,0
1,2014-04-07T10:54:09.868Z,214536500,S
2,2014-04-07T13:56:37.614Z,214662742,7
2,2014-04-07T13:57:19.373Z,214662742,3
2,2014-04-07T13:58:37.446Z,214825110,2088888888
"""
BUYS = """2,2014-04-07T14:00:00.000Z,214662742,12462,2
2,2014-04-07T14:00:00.000Z,214825110,0,0
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with both files."""
    (tmp_path / "yoochoose-clicks.dat").write_text(CLICKS)
    (tmp_path / "yoochoose-buys.dat").write_text(BUYS)
    return tmp_path


def test_items_have_what_was_stated_last(data: Path):
    """A number up to 12 is a category, a long one a brand; S and 0 are neither; a price of 0 is missing."""
    assert prepare("yoochoose", data).items.select("item_id", "title", "brand", "category", "price").rows() == [
        ("214536500", "Item 214536500", None, None, None),
        ("214536502", "Item 214536502", None, None, None),
        ("214662742", "Item 214662742", None, "Category 3", 12462.0),
        ("214825110", "Item 214825110", "Brand 2088888888", None, None),
    ]


def test_every_visit_is_a_user(data: Path):
    """A purchase whose quantity is 0 counts, since 0 is missing."""
    dataset = prepare("yoochoose", data)
    purchases = dataset.events.filter(event="purchase")
    assert purchases.select("user_id", "session_id", "item_id", "quantity").rows() == [
        ("2", "2", "214662742", 2.0),
        ("2", "2", "214825110", None),
    ]
    assert not dataset.events["known_user"].any()
    assert dataset.events["timestamp"][0] == datetime(2014, 4, 7, 10, 51, 9, 277_000)  # noqa: DTZ001 - no zone
    assert dataset.report.tables["events"].rows_in == 7


@pytest.mark.parametrize("missing", ["yoochoose-clicks.dat", "yoochoose-buys.dat"])
def test_a_missing_file_is_named(data: Path, missing: str):
    """Both are needed."""
    (data / missing).unlink()
    with pytest.raises(BadDataset, match=f"holds no {missing}"):
        prepare("yoochoose", data)


def test_a_file_of_another_form_is_refused(data: Path):
    """The message names file, line, cells and columns."""
    (data / "yoochoose-buys.dat").write_text(CLICKS)
    with pytest.raises(
        BadDataset, match=r"yoochoose-buys\.dat, line 1 has 4 cells .* and not 5: session_id, timestamp"
    ):
        prepare("yoochoose", data)

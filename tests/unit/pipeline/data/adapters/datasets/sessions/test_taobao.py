"""Taobao's behaviour becomes events of items known by number."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.schema import BadDataset

ROWS = """1,2268318,2520377,pv,1511544070
1,2333346,2520771,buy,1511561733
1,2268318,2520377,cart,1511572885
100,2576651,149192,fav,1511575000
100,2576651,149192,pv,-1800000000
"""


def test_behaviours_are_events_and_items_have_numbers(tmp_path: Path):
    """The four behaviours have our names; a title is made of category and item, and the report says so."""
    (tmp_path / "UserBehavior.csv").write_text(ROWS)
    dataset = prepare("taobao", tmp_path)
    assert dataset.items.select("item_id", "title", "category").rows() == [
        ("2268318", "Category 2520377, item 2268318", "Category 2520377"),
        ("2333346", "Category 2520771, item 2333346", "Category 2520771"),
        ("2576651", "Category 149192, item 2576651", "Category 149192"),
    ]
    assert dataset.events.select("user_id", "item_id", "event").rows() == [
        ("1", "2268318", "view"),
        ("1", "2333346", "purchase"),
        ("1", "2268318", "cart"),
        ("100", "2576651", "favourite"),
    ]
    assert dataset.events["timestamp"][0] == datetime(2017, 11, 24, 17, 21, 10)  # noqa: DTZ001 - datasets have no zone
    assert "no titles" in dataset.report.notes[0]


def test_impossible_times_are_counted(tmp_path: Path):
    """The published file has some; they are left out and shown."""
    (tmp_path / "mine.csv").write_text(ROWS)
    events = prepare("taobao", tmp_path / "mine.csv").report.tables["events"]
    assert (events.rows_in, events.rows_out) == (5, 4)
    assert events.dropped["impossible_timestamp"].rows == 1
    assert events.unreadable["timestamp"].examples == ["-1800000000"]


def test_another_file_is_refused(tmp_path: Path):
    """The message names file, line, cells and columns."""
    (tmp_path / "UserBehavior.csv").write_text("1,2,pv\n")
    with pytest.raises(
        BadDataset, match=r"UserBehavior\.csv, line 1 has 3 cells \('1,2,pv'\) and not 5: user_id, item_id"
    ):
        prepare("taobao", tmp_path)
    (tmp_path / "UserBehavior.csv").write_text("1,2,3,pv,noon\n1,2,3,buy,night\n")
    with pytest.raises(BadDataset, match=r"2 of 2 cells of the column 'timestamp' are no timestamp, such as 'noon'"):
        prepare("taobao", tmp_path)

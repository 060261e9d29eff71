"""The log of impressions as tables; a gateway's own lines are read in tests/unit/pipeline/data/adapters/gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.impressions.log_reader import read_log
from testing.online.impression_logs import START_US, answer_record, event_record, write_log


def test_slots_have_their_position_and_reward(tmp_path: Path):
    """Each item shown is a row; events of the asked kind that name the answer are its rewards."""
    records = [
        answer_record("a", ["x", "y"], user="u", propensities=[0.9, 0.1], pool=["x", "y", "z"]),
        answer_record("b", ["y"], at_us=START_US + 5),
        answer_record("c", []),
        event_record("1", "y", request_id="a"),
        event_record("2", "y", request_id="a"),
        event_record("3", "y", request_id="b", kind="purchase"),
        event_record("4", "x"),
    ]
    slots = read_log([write_log(tmp_path, records)]).rewarded_slots("view")
    assert slots.select("request_id", "position", "item", "propensity", "pool", "reward").rows() == [
        ("a", 1, "x", 0.9, 3, 0.0),
        ("a", 2, "y", 0.1, 3, 1.0),
        ("b", 1, "y", None, 0, 0.0),
    ]


def test_an_item_that_a_rule_placed_is_not_random(tmp_path: Path):
    """It was shown whatever was drawn, so it has no propensity; the others keep theirs."""
    records = [answer_record("a", ["pinned", "y"], propensities=[1.0, 0.9], pool=["y", "z"])]
    slots = read_log([write_log(tmp_path, records)]).slots()
    assert slots.select("item", "propensity", "pool").rows() == [("pinned", None, 2), ("y", 0.9, 2)]


def test_records_come_once_and_torn_lines_are_counted(tmp_path: Path):
    """A line that a crash has torn, and a record that came before, are left out and counted."""
    write_log(tmp_path / "a", [answer_record("a", ["x"]), event_record("1", "x"), event_record("1", "x")])
    with next((tmp_path / "a").iterdir()).open("a") as file:
        file.write('{"type":"impression","request')
    write_log(tmp_path / "b", [answer_record("a", ["z"]), {"type": "impression"}, {"type": "event", "at_us": "now"}])
    tables = read_log([tmp_path])
    assert tables.answers["items"].to_list() == [["x"]]
    assert tables.events.height == 1
    assert (tables.unreadable_lines, tables.repeated) == (3, 2)


def test_rows_are_in_order_of_time(tmp_path: Path):
    """Files of several gateways are merged by time."""
    write_log(tmp_path / "a", [answer_record("late", ["x"], at_us=START_US + 9)])
    write_log(tmp_path / "b", [answer_record("early", ["x"])])
    assert read_log([tmp_path / "a", tmp_path / "b"]).answers["request_id"].to_list() == ["early", "late"]


def test_a_folder_without_a_log_is_named(tmp_path: Path):
    """The error names the folder and what it should hold; so does a file in which no line is a record."""
    with pytest.raises(BadDataset, match=r"has no shown-\*\.jsonl"):
        read_log([tmp_path])
    (tmp_path / "shown-1.jsonl").write_text("nothing\n")
    with pytest.raises(BadDataset, match="none of 1 lines"):
        read_log([tmp_path])

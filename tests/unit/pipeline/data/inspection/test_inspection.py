"""What is understood of a shop's files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.data.adapters import prepare
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.inspection.inspection import inspect
from pipeline.data.inspection.mapping_file import write_mapping
from pipeline.data.inspection.view import show

PRODUCTS = (
    "SKU;Name;Vendor;Body (HTML);Variant Price;Status\n"
    "007;Müsli;Korn;<p>Good</p>;1.204,50;active\n008;Tee;Blatt;;3,50;draft\n"
)
ORDERS = (
    "customer\tsku\tOrder Date\tqty\nc1\t007\t13.02.2024 10:00\t1\nc2\t008\t14.02.2024\t2\nc2\t999\t14.02.2024\t2\n"
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return a folder with products in cp1252 and zipped orders, under the shop's own names."""
    (tmp_path / "Produkte.CSV").write_bytes(PRODUCTS.encode("cp1252"))
    (tmp_path / "orders.tsv.gz").write_bytes(gzip.compress(ORDERS.encode()))
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    return tmp_path


def test_tables_and_roles_are_found(shop: Path):
    """Which file is which, by its columns, and which column is which, by names and cells."""
    found = {table.path.name: (table.table, table.roles) for table in inspect(shop).tables}
    assert found["Produkte.CSV"] == (
        "items",
        {
            "item_id": "SKU",
            "title": "Name",
            "brand": "Vendor",
            "description": "Body (HTML)",
            "price": "Variant Price",
            "available": "Status",
        },
    )
    assert found["orders.tsv.gz"] == (
        "events",
        {"user_id": "customer", "item_id": "sku", "timestamp": "Order Date", "quantity": "qty"},
    )
    assert found["notes.csv"] == (None, {})


def test_warnings_name_what_a_shop_should_know(shop: Path):
    """A file that nothing uses, an encoding that was guessed, events of unknown items, and a kind that was assumed."""
    warnings = [f"{severity}: {sentence}" for severity, sentence in inspect(shop).warnings]
    for words in ("cp1252", "notes.csv is not used", "1 of 3 rows left out (unknown_item)", "counts as a purchase"):
        assert any(words in warning for warning in warnings), words
    assert [warning.partition(":")[0] for warning in warnings] == ["warning"] * 3 + ["note"]


def test_the_mapping_that_is_written_makes_the_dataset(shop: Path):
    """The TOML file is read by `prepare` and gives what the inspection saw, with ids and prices as they are."""
    inspection = inspect(shop)
    write_mapping(inspection, shop / "shop.toml")
    dataset = prepare("table", shop / "shop.toml")
    assert inspection.dataset is not None
    assert dataset.fingerprint() == inspection.dataset.fingerprint()
    assert dataset.items.select("item_id", "title", "price", "available").rows() == [
        ("007", "Müsli", 1204.5, True),
        ("008", "Tee", 3.5, False),
    ]


def test_the_view_shows_raw_and_read_cells(shop: Path):
    """Each column with its role, and cells that reading changes with what they become."""
    console = Console(record=True, width=200)
    show(inspect(shop), console)
    text = console.export_text()
    for words in ("Produkte.CSV: items (2 rows, csv, cp1252, parted by ;)", "1.204,50 → 1204.5", "first event"):
        assert words in text


def test_a_folder_without_items_says_what_is_missing(tmp_path: Path):
    """No mapping is made up; the error names what no column looks like."""
    (tmp_path / "items.csv").write_text("colour,size\nred,2\n")
    found = inspect(tmp_path)
    assert found.description is None
    assert ("error", "items.csv: no column looks like item_id, title") in found.warnings
    with pytest.raises(ValueError, match="no mapping without items"):
        write_mapping(found, tmp_path / "shop.toml")


def test_a_folder_without_tables_is_refused(tmp_path: Path):
    """So is a folder that is not there."""
    with pytest.raises(BadDataset, match="holds no table"):
        inspect(tmp_path)
    with pytest.raises(BadDataset, match="is no folder"):
        inspect(tmp_path / "none")


def test_columns_whose_names_differ_in_marks_alone_are_all_kept(tmp_path: Path):
    """The second one gets a number."""
    (tmp_path / "items.csv").write_text("item_id,title,size!,Size?\na,Apple,S,M\n", encoding="utf-8")
    description = inspect(tmp_path).description
    assert description is not None
    columns = description.items.columns or {}
    assert (columns["size"], columns["size_2"]) == ("size!", "Size?")


def test_a_table_without_a_row_is_named(tmp_path: Path):
    """Its columns cannot be understood, since no cell shows what they hold."""
    (tmp_path / "items.csv").write_text("item_id,title\n", encoding="utf-8")
    assert ("error", "items.csv has names of columns and no row") in inspect(tmp_path).warnings


def test_the_written_mapping_shows_the_weights_of_the_kinds_found(tmp_path: Path):
    """They are a comment; without its mark it is a valid line that weighs the events."""
    (tmp_path / "items.csv").write_text("item_id,title\na,Apple\n", encoding="utf-8")
    rows = "u,a,view,1700000000\nu,a,purchase,1700000100\n"
    (tmp_path / "events.csv").write_text(f"user_id,item_id,event,timestamp\n{rows}", encoding="utf-8")
    file = tmp_path / "shop.toml"
    write_mapping(inspect(tmp_path), file)
    assert "# weights = { view = 0.1, purchase = 1 }  # of a kind of event" in file.read_text()
    file.write_text(file.read_text().replace("# weights = { view = 0.1,", "weights = { view = 0.2,"))
    dataset = prepare("table", file)
    assert dataset.report.event_weights == {"view": 0.2, "purchase": 1.0}
    dataset.save(tmp_path / "dataset")
    assert prepare("table", tmp_path / "dataset").report.event_weights == dataset.report.event_weights


def test_a_table_of_ratings_holds_no_purchases(tmp_path: Path):
    """If no column says what happened and one holds ratings, each event is a rating."""
    (tmp_path / "items.csv").write_text("item_id,title\na,Apple\n", encoding="utf-8")
    (tmp_path / "ratings.csv").write_text("userId,item_id,rating,timestamp\nu,a,4.5,1700000000\n", encoding="utf-8")
    found = inspect(tmp_path)
    assert found.dataset is not None
    assert found.dataset.events["event"].to_list() == ["rating"]
    assert ("note", "no column says what happened; every event counts as a rating") in found.warnings

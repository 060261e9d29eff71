"""Tables of an export are found by their headings."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.data.adapters.shops.exports import find_kind, first_of, look_up, read_exports
from pipeline.data.dataset.schema import BadDataset

KINDS = {"products": ({"sku", "full name"},), "orders": ({"order", "sku"}, {"order", "item"})}


def test_parts_are_put_together_and_other_tables_kept_apart(tmp_path: Path):
    """Headings count in any case and spacing; cells are text, and words for nothing are empty."""
    (tmp_path / "a.csv").write_text("SKU,Full  Name\n007,Tea\n")
    (tmp_path / "b.tsv").write_text("sku\tfull name\tsize\n008\tPot\tN/A\n")
    (tmp_path / "c.csv").write_text("city,street\nUlm,Hof\n")
    found = read_exports(tmp_path, KINDS, "products", "a folder")
    assert found.tables["products"].rows() == [("007", "Tea", None), ("008", "Pot", None)]
    assert found.place("products") == f"{tmp_path / 'a.csv'}, {tmp_path / 'b.tsv'}"
    assert list(found.others) == [tmp_path / "c.csv"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    """It stops the reading only if the table that is needed is not there."""
    (tmp_path / "broken.csv").write_text("a,a\n1,2\n")
    with pytest.raises(BadDataset, match="the column 'a' is named 2 times"):
        read_exports(tmp_path, KINDS, "products", "a folder")
    (tmp_path / "a.csv").write_text("sku,full name\n007,Tea\n")
    (note,) = read_exports(tmp_path, KINDS, "products", "a folder").notes
    assert note.startswith("A file was not read: ")
    assert "broken.csv" in note


def test_a_table_that_is_missing_is_described(tmp_path: Path):
    """By the headings that it should have, and those that were found."""
    (tmp_path / "c.csv").write_text("city,street\nUlm,Hof\n")
    with pytest.raises(BadDataset, match=r"holds no table of orders with order, sku or with .*: c\.csv has city"):
        read_exports(tmp_path, KINDS, "orders", "a folder")


def test_the_first_kind_that_fits_wins():
    """All headings of one set must be there."""
    assert find_kind(["Order", "SKU", "Full name"], KINDS) == "products"
    assert find_kind(["order", "item"], KINDS) == "orders"
    assert find_kind(["order"], KINDS) is None


def test_the_first_filled_cell_counts():
    """Columns that a table lacks are empty."""
    table = pl.DataFrame({"a": [None, "1"], "b": ["2", "3"]})
    assert first_of(table, "x", "a", "b").to_list() == ["2", "1"]
    assert first_of(table, "x").to_list() == [None, None]


def test_a_key_of_two_items_names_none():
    """Nor do unknown and empty keys."""
    known = pl.DataFrame({"key": ["a", "a", "b", "b", None], "item_id": ["1", "1", "2", "3", "4"]})
    assert look_up(pl.Series(["b", "a", None, "c", "a"]), known).to_list() == [None, "1", None, None, "1"]

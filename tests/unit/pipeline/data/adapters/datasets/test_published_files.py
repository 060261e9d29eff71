"""Files of public data sets are found by name and read as text."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.adapters.datasets.published_files import PublishedFiles, last_stated
from pipeline.data.dataset.schema import BadDataset
from pipeline.data.ingest.items import clean_items


@pytest.mark.parametrize("name", ["products.csv", "Products.CSV", "products.csv.gz", "products.parquet"])
def test_a_file_is_found_in_any_case_compressed_or_converted(tmp_path: Path, name: str):
    """The cells are text, with their zeros in front."""
    frame = pl.DataFrame({"id": ["007"], "name": ["Tea"]})
    if name.endswith(".parquet"):
        frame.write_parquet(tmp_path / name)
    else:
        text = frame.write_csv().encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert PublishedFiles(tmp_path).read("products.csv", {"item_id": "id"}).rows() == [("007",)]


def test_a_missing_file_is_named(tmp_path: Path):
    """The message names the folder and the file; an optional file is None."""
    assert PublishedFiles(tmp_path).find("products.csv") is None
    with pytest.raises(BadDataset, match=r"holds no products\.csv, compressed or not; name the folder"):
        PublishedFiles(tmp_path).path("products.csv")


def test_the_folder_of_a_file_is_its_own(tmp_path: Path):
    """Naming one of the files finds the others."""
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id\n1\n")
    assert PublishedFiles(tmp_path / "a.csv").path("b.csv") == tmp_path / "b.csv"


def test_a_file_without_heading_is_read_by_its_columns(tmp_path: Path):
    """Its first row is data; a line with more cells is counted in the notes."""
    (tmp_path / "log.dat").write_text("1,007\n2,008,9\n3\n")
    files = PublishedFiles(tmp_path)
    assert files.read_rows("log.dat", ("user", "item")).rows() == [("1", "007"), ("3", None)]
    assert files.notes == [
        "log.dat: 1 lines have more cells than the heading and were left out, such as 'line 2: 2,008,9'."
    ]


def test_a_column_that_is_unreadable_refuses_the_file(tmp_path: Path):
    """The message names the file, the column, the cells and what to do."""
    (tmp_path / "products.csv").write_text("id,name,cost\n1,Tea,cheap\n2,Tea,dear\n3,Tea,1\n")
    files = PublishedFiles(tmp_path)
    columns = {"item_id": "id", "title": "name", "price": "cost"}
    items = clean_items(files.read("products.csv", columns))
    wanted = r"products\.csv: 2 of 3 cells of the column 'cost' are no price, such as 'cheap', 'dear'; use the"
    with pytest.raises(BadDataset, match=wanted):
        files.check(items, "products.csv", columns)


def test_a_file_without_rows_is_refused(tmp_path: Path):
    """The message names the file."""
    (tmp_path / "products.csv").write_text("id,name\n")
    files = PublishedFiles(tmp_path)
    items = clean_items(files.read("products.csv", {"item_id": "id", "title": "name"}))
    with pytest.raises(BadDataset, match=r"products\.csv has no rows; use the file as it was published"):
        files.check(items, "products.csv", {})


def test_what_was_stated_last_stays():
    """An empty cell states nothing."""
    frame = pl.DataFrame(
        {"id": ["a", "b", "a", None], "at": [2, 1, 1, 3], "price": [None, "1", "2", "3"], "kind": ["x", None, "y", "z"]}
    )
    assert last_stated(frame, "id", "at").sort("id").rows() == [("a", "2", "x"), ("b", "1", None)]

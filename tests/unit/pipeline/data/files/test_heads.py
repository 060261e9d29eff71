"""The first rows of tables."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipeline.data.files.heads import read_head, size_of

ROWS = 100_000


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_large_tables_are_not_read_whole(tmp_path: Path, name: str):
    """A thousand rows show what a table is; its columns are all there."""
    frame = pl.DataFrame({"id": [f"{at:07}" for at in range(ROWS)], "title": ["A thing for sale"] * ROWS})
    file = tmp_path / name
    {"a.csv": frame.write_csv, "a.jsonl": frame.write_ndjson, "a.parquet": frame.write_parquet}[name](file)
    if name == "a.parquet":
        frame.with_columns(pl.Series("noise", range(ROWS))).write_parquet(file, compression="uncompressed")
    head = read_head(file).frame
    assert 100 <= head.height < ROWS
    assert head.columns[:2] == ["id", "title"]
    assert head["id"][0] == "0000000"


def test_a_folder_of_parts_is_its_first_part(tmp_path: Path):
    """Its size is that of all of them."""
    for part in ("1", "2"):
        (tmp_path / f"{part}.csv").write_text(f"id\n{part}\n")
    assert read_head(tmp_path).frame.rows() == [("1",)]
    assert size_of(tmp_path) == 10


def test_a_sample_that_ends_within_a_cell_is_read_whole(tmp_path: Path):
    """A description may be longer than the sample."""
    long = "line\n" * 300_000
    (tmp_path / "a.csv").write_text(f'id,title\n1,"{long}"\n2,b\n')
    assert read_head(tmp_path / "a.csv").frame.height == 2

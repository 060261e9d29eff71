"""The mapping that a shop's tables propose."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.files.tables import read_raw_table
from pipeline.data.inspection.proposal import InspectedTable, inspected, propose_mapping


def _table(folder: Path, name: str, text: str) -> InspectedTable:
    file = folder / name
    file.write_text(text)
    raw = read_raw_table(file)
    return inspected(file.stem, file, raw, raw.frame.height)


def test_of_several_tables_the_named_or_largest_is_taken(tmp_path: Path):
    """A table called items goes before a larger one; of two of events the larger one is taken."""
    tables = [
        _table(tmp_path, "more.csv", "sku,name\na,Tea\nb,Pot\n"),
        _table(tmp_path, "items.csv", "sku,name\na,Tea\n"),
        _table(tmp_path, "old.csv", "user,sku,date\nu,a,2024-01-01\n"),
        _table(tmp_path, "new.csv", "user,sku,date,stars\nu,a,2024-01-01,5\nv,a,2024-01-02,4\n"),
    ]
    found = propose_mapping(tmp_path, tables)
    assert found is not None
    assert found.items.file == Path("items.csv")
    assert found.events is not None
    assert (found.events.file, found.events.event) == (Path("new.csv"), "rating")


def test_without_items_there_is_no_mapping(tmp_path: Path):
    """Events alone describe nothing."""
    assert propose_mapping(tmp_path, [_table(tmp_path, "a.csv", "user,sku,date\nu,a,2024-01-01\n")]) is None

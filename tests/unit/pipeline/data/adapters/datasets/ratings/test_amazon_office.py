"""Amazon Office in MiniOneRec's split becomes items and ordered events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.schema import BadDataset

ITEMS = {
    "item_id": ["0", "1"],
    "title": ["HP 74 Black &amp; 75", "Shredder"],
    "brand": ["HP", None],
    "description": ["[\"HP's <b>ink</b>\", 'two']", "plain"],
}


SEQUENCES = {
    "user_id": ["A", "A", "A", "B"],
    "item_id": ["0", "1", "1", "9"],
    "position": [0, 1, 1, 0],
    "split": ["train", "valid", "valid", "train"],
}


def write(folder: Path) -> Path:
    """Write both files."""
    pl.DataFrame(ITEMS).write_parquet(folder / "items.parquet")
    pl.DataFrame(SEQUENCES).write_parquet(folder / "sequences.parquet")
    return folder


def test_only_the_order_of_events_is_known(tmp_path: Path):
    """Positions order the events, which keep their split; written lists become text."""
    dataset = prepare("amazon-office", write(tmp_path))
    assert dataset.order_column == "position"
    assert dataset.events.select("user_id", "item_id", "position", "split").rows() == [
        ("A", "0", 0, "train"),
        ("A", "1", 1, "valid"),
    ]
    assert dataset.items.select("title", "brand", "description").rows() == [
        ("HP 74 Black & 75", "HP", "HP's ink two"),
        ("Shredder", None, "plain"),
    ]
    reasons = dataset.report.tables["events"].dropped
    assert (reasons["unknown_item"].rows, reasons["repeated_position"].rows) == (1, 1)


def test_a_missing_file_is_named(tmp_path: Path):
    """Items alone are no dataset."""
    (write(tmp_path) / "sequences.parquet").unlink()
    with pytest.raises(BadDataset, match=r"sequences\.parquet does not exist"):
        prepare("amazon-office", tmp_path)


def test_the_real_files_are_prepared(real_data: Callable[[str], Path]):
    """Every event of the real files is kept, and no description is left as a written list."""
    dataset = prepare("amazon-office", real_data("amazon-office"))
    assert (dataset.items.height, dataset.events.height) == (3_459, 17_581)
    assert not dataset.items["description"].str.contains(r"^\[['\"]|</?[a-z]+>").any()

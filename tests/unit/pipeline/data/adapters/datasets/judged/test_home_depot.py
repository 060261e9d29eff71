"""Home Depot's judgements in their published form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset


def dropped(dataset: Dataset, table: str) -> dict[str, int]:
    """Return the counts of the reasons that dropped any row."""
    return {reason: part.rows for reason, part in dataset.report.tables[table].dropped.items() if part.rows}


def judged(dataset: Dataset, *columns: str) -> list[tuple[object, ...]]:
    """Return columns of the judgements."""
    assert dataset.judgements is not None
    return dataset.judgements.select(columns).rows()


def test_keeps_the_split(tmp_path: Path):
    """Judgements say which file they come from, and means of raters stay as they are."""
    pl.DataFrame({"item_id": ["1", "2"], "title": ["Angle <b>bracket</b>", "Deck paint"]}).write_parquet(
        tmp_path / "items.parquet"
    )
    for part, relevance in (("train", 1.67), ("test", 2.0)):
        rows = {"query": [part, part], "item_id": ["1", "9"], "relevance": [relevance, 1.0]}
        pl.DataFrame(rows).write_parquet(tmp_path / f"judgements_{part}.parquet")
    dataset = prepare("home-depot", tmp_path)
    assert judged(dataset, "query", "item_id", "relevance", "split") == [
        ("test", "1", 2.0, "test"),
        ("train", "1", 1.67, "train"),
    ]
    assert dataset.items["title"].to_list() == ["Angle bracket", "Deck paint"]
    assert dropped(dataset, "judgements") == {"unknown_item": 2}


def test_the_real_home_depot_is_prepared(real_data: Callable[[str], Path]):
    """Every judgement of the real files is accounted for."""
    dataset = prepare("home-depot", real_data("home-depot"))
    assert dataset.judgements is not None
    assert (dataset.items.height, dataset.judgements.height) == (54_667, 62_828)
    assert dataset.judgements["split"].value_counts().sort("split")["count"].to_list() == [10_523, 52_305]

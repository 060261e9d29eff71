"""Sources are found by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import NotFound
from pipeline.data.adapters import ADAPTERS, prepare
from pipeline.data.dataset.schema import BadDataset


def test_an_unknown_source_is_answered_with_the_known_ones():
    """The message lists the names one may use."""
    with pytest.raises(
        NotFound, match=r"no source 'netflix'; the known ones are amazon-2018, .*complete-journey, .*table, wands"
    ):
        prepare("netflix")


def test_every_source_describes_itself():
    """A source is listed under its own name, with a line and terms of use."""
    for name, source in ADAPTERS.items():
        assert source.name == name
        assert source.description
        assert source.licence


def test_a_source_without_data_asks_for_it():
    """Where a source finds no data by itself, the message says how to name it."""
    with pytest.raises(BadDataset, match="finds no data; say where it lies with --data"):
        prepare("online-retail")


def test_progress_is_told_each_step(tmp_path: Path):
    """Long work says what it does, in order."""
    (tmp_path / "items.csv").write_text("item_id,title\n1,Hammer\n")
    steps: list[str] = []
    prepare("table", tmp_path, steps.append)
    assert steps == ["reading items", "reading events"]

"""Data adapters are found by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import NotFound
from pipeline.data.adapters import ADAPTERS, prepare
from pipeline.data.dataset.schema import BadDataset


def test_an_unknown_adapter_is_refused():
    """The error lists the known adapters."""
    known = "amazon-2018, .*complete-journey, .*table, .*wands, woocommerce, yoochoose"
    with pytest.raises(NotFound, match=f"no data adapter 'netflix'; the known ones are {known}"):
        prepare("netflix")


def test_every_adapter_has_name_description_and_licence():
    """An adapter is listed under its own name."""
    for name, adapter in ADAPTERS.items():
        assert adapter.name == name
        assert adapter.description
        assert adapter.licence


def test_missing_data_is_refused():
    """If an adapter finds no data itself, the error names the option."""
    with pytest.raises(BadDataset, match="finds no data; name it with --data"):
        prepare("online-retail")


def test_steps_are_reported(tmp_path: Path):
    """Each step is reported as it begins."""
    (tmp_path / "items.csv").write_text("item_id,title\n1,Hammer\n")
    steps: list[str] = []
    prepare("table", tmp_path, steps.append)
    assert steps == ["reading items", "reading events"]

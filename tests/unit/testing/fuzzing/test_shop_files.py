"""Changed exports of shops."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from testing.fuzzing.shop_files import SHOPS, Shop, write_changed


@pytest.mark.parametrize("shop", SHOPS, ids=lambda shop: f"{shop.adapter}-{len(shop.files)}")
def test_the_unchanged_shops_are_read(shop: Shop, tmp_path: Path):
    """Each shop is one that its adapter reads, so that a change is what makes it fail."""
    for name, text in shop.files.items():
        (tmp_path / name).write_text(text)
    dataset = prepare(shop.adapter, tmp_path if shop.folder else tmp_path / next(iter(shop.files)))
    assert dataset.items.height > 0


def test_the_same_seed_writes_the_same_files(tmp_path: Path):
    """An input is reproduced by its seed."""
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        adapter, _ = write_changed(random.Random("seed"), tmp_path / name)
        written.append((adapter, {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}))
    assert written[0] == written[1]

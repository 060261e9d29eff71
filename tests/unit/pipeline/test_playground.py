"""What the playground is given to choose from."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from common.errors import BadRelease
from pipeline import playground as module
from pipeline.data.dataset.dataset import Dataset
from services.playground.comparison.users import read_users

CONSOLE = Console(quiet=True)


def test_users_have_their_own_histories(tiny_dataset: Dataset, tmp_path: Path):
    """The playground reads the users back: each with the latest items, oldest first; the seed decides who."""
    file = tmp_path / "users.jsonl"
    assert module.write_users(tiny_dataset, file, 7) == 7
    users = read_users(file)
    assert len({user.user_id for user in users}) == 7
    for user in users:
        bought = tiny_dataset.events.filter(pl.col("user_id") == user.user_id)["item_id"].to_list()
        assert list(user.history) == bought[-200:]
    module.write_users(tiny_dataset, file, 7)
    assert read_users(file) == users
    assert module.write_users(tiny_dataset, file, 10_000) == tiny_dataset.events["user_id"].n_unique()


def test_a_release_that_is_not_the_demos_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another release that is missing, and a damaged one of the demo, are errors."""
    with pytest.raises(BadRelease):
        module._release(tmp_path / "none", CONSOLE)
    (tmp_path / "demo" / "r1").mkdir(parents=True)
    (tmp_path / "demo" / "r1" / "manifest.json").write_text("{}")
    monkeypatch.setattr(module, "DEMO", tmp_path / "demo")
    with pytest.raises(BadRelease):
        module._release(tmp_path / "demo", CONSOLE)

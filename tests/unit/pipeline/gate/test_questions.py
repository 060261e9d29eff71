"""The requests of the gate."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import open_release
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import ShopRequest, Windows, sample_test_users
from pipeline.gate.questions import (
    BOTH,
    HISTORY,
    NEW_ITEMS,
    NEW_USER,
    QUERY,
    questions_of_next_items,
    questions_of_queries,
    questions_of_windows,
)
from pipeline.learning.examples.judged_queries import JudgedQuery


@pytest.fixture
def shop(tiny_dataset: Dataset) -> Dataset:
    """Return the tiny shop with an item that is first bought in the last window."""
    windows = Windows.of(tiny_dataset.events, 10)
    new = tiny_dataset.items.head(1).with_columns(item_id=pl.lit("new"), title=pl.lit("fresh pear"))
    sold = tiny_dataset.events.head(1).with_columns(
        item_id=pl.lit("new"), event_id=pl.lit("e-new"), timestamp=pl.lit(windows.test + timedelta(hours=1))
    )
    return Dataset(
        pl.concat([tiny_dataset.items, new]), pl.concat([tiny_dataset.events, sold]), None, tiny_dataset.report
    )


def test_each_occasion_asks_the_users_held_out(shop: Dataset):
    """Histories, searches with and without one, and hidden histories are of the same users, at the same time."""
    windows = Windows.of(shop.events, 10)
    found = questions_of_windows(shop, windows, users=12, seed=7)
    held_out = {user.user_id: user for user in sample_test_users(shop.events, windows, 12, 7)}
    assert found.time == windows.test
    by_user = {one.group: one for one in found.by_occasion[HISTORY]}
    assert by_user.keys() == held_out.keys()
    assert all(set(one.relevant) == held_out[user].held_out for user, one in by_user.items())
    assert all(not one.history and not one.query for one in found.by_occasion[NEW_USER])
    assert [one.group for one in found.by_occasion[QUERY]] == [one.group for one in found.by_occasion[BOTH]]
    titles = dict(shop.items.select("item_id", "title").iter_rows())
    for alone, both in zip(found.by_occasion[QUERY], found.by_occasion[BOTH], strict=True):
        assert not alone.history
        assert list(both.history) == by_user[both.group].history
        assert alone.query == both.query
        assert all(set(both.query.split()) <= set(titles[item].split()) for item in both.relevant)
    assert len({one.key for one in found.all}) == len(found.all)


def test_new_items_are_those_that_nobody_bought_before(shop: Dataset):
    """They are searched for by the users who bought them, with their history."""
    found = questions_of_windows(shop, Windows.of(shop.events, 10), users=12, seed=7)
    (asked,) = found.by_occasion[NEW_ITEMS]
    assert set(asked.relevant) == {"new"}
    assert set(asked.query.split()) <= {"fresh", "pear"}
    assert "new" not in asked.history


def test_judged_queries_keep_their_grades(tiny_release: Path):
    """Items with a grade above 0 are relevant with it; a query without any is left out."""
    catalogue = Catalogue.open(open_release(str(tiny_release)).file(CATALOGUE))
    graded = JudgedQuery("milk", np.array([0, 1, 2]), np.array([1.0, 0.5, 0.0], np.float32))
    empty = JudgedQuery("none", np.array([3]), np.zeros(1, np.float32))
    found = questions_of_queries([graded, empty], catalogue, "judged")
    (asked,) = found.all
    assert asked.query == "milk"
    assert asked.relevant == {catalogue.item_ids[0]: 1.0, catalogue.item_ids[1]: 0.5}


def test_users_held_out_of_sequences_ask_for_their_last_item():
    """One request a user, so that long sequences weigh no more."""
    requests = [ShopRequest(["a"], "", frozenset(["b"])), ShopRequest(["a", "b"], "", frozenset(["c"]))]
    (asked,) = questions_of_next_items(requests, ["u", "u"]).by_occasion[HISTORY]
    assert list(asked.history) == ["a", "b"]
    assert set(asked.relevant) == {"c"}

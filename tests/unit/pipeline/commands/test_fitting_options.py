"""Options that fit a shop's data."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from pipeline.commands.fitting_options import fitting_options
from pipeline.data.dataset.dataset import Dataset
from testing import tiny_shop


def _shop(users: int, days: int) -> Dataset:
    """Return a shop whose users buy one of ten items every day."""
    start = datetime(2024, 1, 1)  # noqa: DTZ001 - without zone
    items = pl.DataFrame({"item_id": [f"i{at}" for at in range(10)], "title": ["Tea"] * 10})
    rows = [
        (f"u{user:03}", f"i{(user + day) % 10}", "purchase", start + timedelta(days=day, minutes=user))
        for user in range(users)
        for day in range(days)
    ]
    events = pl.DataFrame(rows, ["user_id", "item_id", "event", "timestamp"], orient="row")
    return tiny_shop.tiny_dataset(items, events)


def test_a_large_shop_gets_the_usual_options():
    """Windows of 14 days and items with five buyers leave enough to learn from."""
    assert fitting_options(_shop(100, 90), ()) == ("baskets", {}, None)


def test_a_short_history_gets_shorter_windows():
    """The sentence says which, and by which options to change them."""
    recipe, options, sentence = fitting_options(_shop(100, 40), ())
    assert (recipe, options) == ("baskets", {"window_days": 7.0, "min_buyers": 5})
    assert sentence == (
        "The shop is small: windows of 7 days, and items from 5 buyers on (--window-days, --min-buyers)"
    )


def test_few_buyers_keep_more_items():
    """Half of the items that were bought stay at least."""
    dataset = _shop(100, 90)
    apart = dataset.events.with_columns(pl.concat_str("item_id", "user_id").alias("item_id"))
    items = apart.select("item_id", pl.lit("Tea").alias("title")).unique()
    assert fitting_options(tiny_shop.tiny_dataset(items, apart), ())[1] == {"window_days": 14.0, "min_buyers": 1}


@pytest.mark.parametrize("dataset", [_shop(4, 60), _shop(100, 3)])
def test_too_little_to_learn_from_leaves_the_texts(dataset: Dataset):
    """A release of the catalogue answers all the same, and the sentence says why."""
    recipe, options, sentence = fitting_options(dataset, ())
    assert (recipe, options) == ("catalogue", {})
    assert sentence is not None
    assert "too few to learn from: the release knows the items' texts alone" in sentence


def test_options_that_are_given_stay():
    """Who names windows or buyers gets them, and an error if they do not fit."""
    assert fitting_options(_shop(100, 40), {"window_days"}) == ("baskets", {}, None)

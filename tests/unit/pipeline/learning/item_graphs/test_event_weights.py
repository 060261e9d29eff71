"""Weights of kinds, learned from what they foretell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import DEFAULT_WEIGHTS
from pipeline.data.dataset.report import DataReport
from pipeline.learning.item_graphs.event_weights import learn_event_weights

ITEMS = 40
DAYS = 60
START = datetime(2026, 1, 1)  # noqa: DTZ001 - datasets have no zone


def _shop(viewed: Callable[[np.random.Generator, int], int], users: int = 150, last_day: int = DAYS) -> Dataset:
    """Return a shop in which a view and a purchase alternate, every user having a few items that are bought often.

    Args:
        viewed: From the item that is bought next to the one that is viewed before.
        users: Number of users.
        last_day: Days after this one have random views and purchases.
    """
    generator = np.random.default_rng(3)
    rows: list[tuple[str, str, str, datetime]] = []
    for user in range(users):
        for day in range(1 + user % 3, DAYS, 3):
            item = int(generator.integers(0, ITEMS))
            look = viewed(generator, item) if day <= last_day else int(generator.integers(0, ITEMS))
            at = START + timedelta(days=day)
            rows.append((f"u{user}", f"i{look}", "view", at - timedelta(days=2)))
            rows.append((f"u{user}", f"i{item}", "purchase", at))
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "event", "timestamp"], orient="row")
    items = pl.DataFrame({"item_id": [f"i{item}" for item in range(ITEMS)], "title": ["thing"] * ITEMS})
    return Dataset(items, events, None, DataReport(source="test", licence="none", tables={}))


def _before_the_purchase(_: np.random.Generator, item: int) -> int:
    return item


def _at_random(generator: np.random.Generator, _: int) -> int:
    return int(generator.integers(0, ITEMS))


def test_views_that_foretell_purchases_count_much():
    """Where users buy what they looked at two days before, a view counts more than by default."""
    learned = learn_event_weights(_shop(_before_the_purchase), {}, 3.0, seed=1)
    assert learned["view"] > DEFAULT_WEIGHTS["view"]


def test_views_that_foretell_nothing_keep_at_most_the_default():
    """A kind that tells nothing is not made to count more."""
    assert learn_event_weights(_shop(_at_random), {}, 3.0, seed=1)["view"] <= DEFAULT_WEIGHTS["view"]


def test_validation_and_test_have_no_part_in_it():
    """The weights are the same whatever happens in the last two windows."""
    shops = [_shop(_before_the_purchase), _shop(_before_the_purchase, last_day=DAYS - 8)]
    assert shops[0].fingerprint() != shops[1].fingerprint()
    learned = [learn_event_weights(shop, {}, 3.0, seed=1) for shop in shops]
    assert learned[0] == learned[1]


def test_sequences_without_times_are_learned_from_too():
    """Where only the order is known, the last purchase before validation is what is to be foretold."""
    shop = _shop(_before_the_purchase)
    position = pl.col("timestamp").rank("ordinal").over("user_id").cast(pl.Int64)
    events = shop.events.with_columns(position.alias("position")).drop("timestamp")
    learned = learn_event_weights(Dataset(shop.items, events, None, shop.report), {}, None, seed=1)
    assert learned["view"] > DEFAULT_WEIGHTS["view"]


@pytest.mark.parametrize("stated", [{"view": 0.7}, {"view": 0.0}])
def test_what_is_stated_is_not_learned(stated: dict[str, float]):
    """A weight of the mapping or the settings stays."""
    assert learn_event_weights(_shop(_before_the_purchase), stated, 3.0, seed=1) == stated


def test_few_users_leave_the_default():
    """Ten users are too few to tell weights by."""
    learned = learn_event_weights(_shop(_before_the_purchase, users=10), {}, 3.0, seed=1)
    assert learned == {"view": DEFAULT_WEIGHTS["view"]}

"""How items sell, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.learning.item_graphs.demand import HALF_LIVES, demand
from pipeline.learning.item_graphs.purchases import Purchases


@pytest.fixture
def sold() -> dict[str, np.ndarray]:
    """Return statistics of three items: one is bought twice by one user, one long ago, one never."""
    users, sessions, rows, ages = np.array([(0, 0, 0, 14), (0, 1, 0, 0), (1, 2, 1, 90)]).T
    return dict(demand(Purchases(users, sessions, rows, ages.astype(np.float32)), 3))


def test_sales_are_shares_of_the_baskets_recent_ones_weighing_more(sold: dict[str, np.ndarray]):
    """The share of each item's baskets, by every half-life."""
    for life in HALF_LIVES:
        weights = 0.5 ** (np.array([14, 0, 90]) / life)
        expected = np.array([weights[0] + weights[1], weights[2], 0]) / weights.sum()
        assert sold[f"sold_{life}"] == pytest.approx(expected, abs=1e-6)


def test_trends_compare_short_with_long(sold: dict[str, np.ndarray]):
    """What sells now rises, what sold long ago falls, and what never sold has no trend."""
    assert sold["trend_long"][0] > 0 > sold["trend_long"][1]
    assert sold["trend_long"][2] == 0
    ratio = (sold["sold_14"][1] + 1e-4) / (sold["sold_90"][1] + 1e-4)
    assert sold["trend_long"][1] == pytest.approx(math.log(ratio), abs=1e-5)


def test_ages_are_missing_for_what_never_sold(sold: dict[str, np.ndarray]):
    """Days since the first and the last sale, NaN without one."""
    np.testing.assert_array_equal(sold["on_sale"], [14, 90, np.nan])
    np.testing.assert_array_equal(sold["last_sold"], [0, 90, np.nan])


def test_bought_again_is_shrunk(sold: dict[str, np.ndarray]):
    """One of two baskets was not the user's first with it; five baskets more keep rare items humble."""
    assert sold["bought_again"] == pytest.approx([1 / 7, 0, 0])


def test_figures_do_not_depend_on_how_many_users_there_are():
    """Everybody twice gives the same statistics, but for the shrinkage."""
    once = np.array([(0, 0, 0, 3), (0, 1, 1, 9)])
    twice = np.concatenate([once, once + np.array([1, 2, 0, 0])])
    few, many = (demand(Purchases(*table.T[:3], table.T[3].astype(np.float32)), 2) for table in (once, twice))
    for name in set(few) - {"bought_again"}:
        assert few[name] == pytest.approx(many[name], nan_ok=True)

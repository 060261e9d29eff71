"""Explicit matrix factorisation on planted ratings."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from pipeline.evaluation.analyses.rating_prediction import rating_errors
from pipeline.learning.baselines.matrix_factorisation import fit_ratings


@pytest.fixture
def ratings() -> pl.DataFrame:
    """Return ratings by two kinds of users, who like opposite halves of twelve items; one in ten pairs is left out."""
    generator = np.random.default_rng(2)
    rows = [
        (f"u{user}", f"i{item}", "rating", 4.5 if (user + item) % 2 else 1.5)
        for user in range(40)
        for item in range(12)
    ]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "event", "value"], orient="row")
    return frame.with_columns(pl.Series("later", generator.random(frame.height) < 0.1))


def test_factors_foretell_what_biases_cannot(ratings: pl.DataFrame):
    """Taste that goes against the item's mean is found; the means alone are wrong by half of the range."""
    found = rating_errors(ratings.filter(~pl.col("later")), ratings.filter("later"))
    assert found is not None
    assert found.rmse < 0.3
    assert found.rmse_by_item > 1.3
    assert found.rmse_mean > 1.3
    assert found.mae <= found.rmse


def test_unknown_users_and_items_get_what_is_known_of_the_rest():
    """A new user gets the item's mean, a new item the user's, both new the mean of all."""
    model = fit_ratings(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([5.0, 3.0, 5.0, 3.0]))
    new_user, new_item, both = model.predict(np.array([-1, 0, -1]), np.array([0, -1, -1]))
    assert new_user > both > model.predict(np.array([-1]), np.array([1]))[0]
    assert new_item == pytest.approx(4.0, abs=0.3)
    assert both == pytest.approx(4.0)


def test_without_ratings_there_is_nothing_to_say(ratings: pl.DataFrame):
    """Purchases are no ratings, and a table may lack values."""
    bought = ratings.with_columns(event=pl.lit("purchase"))
    assert rating_errors(bought, bought) is None
    assert rating_errors(ratings.drop("value"), ratings) is None

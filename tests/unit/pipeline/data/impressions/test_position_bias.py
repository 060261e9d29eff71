"""The bias of positions, recovered from simulated choices of which it is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from pipeline.data.impressions.position_bias import estimate_position_bias

EXAMINATION = np.array([1.0, 0.6, 0.4, 0.2])
ANSWERS = 60_000


def _slots(order: np.ndarray, propensity: float | None, pool: int, seed: int = 3) -> pl.DataFrame:
    """Return answers that show ``order`` [answers, positions], and choices by examination and attraction."""
    generator = np.random.default_rng(seed)
    attraction = np.linspace(0.5, 0.1, 8)
    chosen = generator.random(order.shape) < EXAMINATION * attraction[order]
    return pl.DataFrame(
        {
            "position": np.tile(np.arange(1, 5), len(order)),
            "item": [f"i{item}" for item in order.ravel()],
            "propensity": pl.Series([propensity] * order.size, dtype=pl.Float64),
            "pool": [pool] * order.size,
            "reward": chosen.ravel().astype(np.float64),
        }
    )


def test_random_positions_give_the_bias():
    """If every item is as likely at every position, the rates of choices are the examination."""
    generator = np.random.default_rng(1)
    order = np.argsort(generator.random((ANSWERS, 8)), axis=1)[:, :4]
    bias = estimate_position_bias(_slots(order, 1 / 8, 8))
    assert bias.method == "random positions"
    np.testing.assert_allclose(bias.examination, EXAMINATION, atol=0.03)


def test_em_gives_the_bias_of_an_order_that_goes_by_attraction():
    """Without random positions, the model separates examination from attraction, which the rates of choices mix up."""
    generator = np.random.default_rng(2)
    order = np.argsort(np.arange(8) + generator.normal(0, 2.5, (ANSWERS, 8)), axis=1)[:, :4]
    slots = _slots(order, None, 0)
    bias = estimate_position_bias(slots)
    assert bias.method == "position-based model by EM"
    np.testing.assert_allclose(bias.examination, EXAMINATION, atol=0.05)
    rates = slots.group_by("position").agg(pl.col("reward").mean()).sort("position")["reward"].to_numpy()
    assert np.abs(bias.examination - EXAMINATION).max() < 0.5 * np.abs(rates / rates[0] - EXAMINATION).max()


def test_weights_are_inverse_and_bounded():
    """A choice counts by the inverse of its position's examination, at most 20 times; later positions as the last."""
    order = np.zeros((200, 4), np.int64)
    slots = _slots(order, None, 0).with_columns(
        pl.when(pl.col("position") == 4).then(0.0).otherwise(pl.col("reward")).alias("reward")
    )
    bias = estimate_position_bias(slots)
    weights = bias.weights(np.array([1, 4, 9]))
    assert weights[0] == 1.0
    assert weights[1] == weights[2] == pytest.approx(20.0)


def test_nothing_chosen_is_no_bias():
    """Without a single choice every position counts the same."""
    slots = _slots(np.zeros((2, 4), np.int64), None, 0).with_columns(reward=pl.lit(0.0))
    bias = estimate_position_bias(slots)
    assert bias.method == "none"
    assert list(bias.weights(np.array([1, 4]))) == [1.0, 1.0]

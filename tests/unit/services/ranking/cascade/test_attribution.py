"""Shapley values of a model's inputs."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import Float64Array, FloatArray
from services.ranking.cascade.attribution import MAX_BACKGROUND, attribute


def _product(rows: FloatArray) -> Float64Array:
    return np.prod(rows, axis=1, dtype=np.float64)


@given(st.integers(1, 6), st.integers(1, 80), st.integers(0, 1_000))
def test_values_sum_to_what_is_above_the_background(inputs: int, background: int, seed: int):
    """Whatever the model: the values and the base sum to the row's score."""
    generator = np.random.default_rng(seed)
    row, rows = generator.normal(size=inputs), generator.normal(size=(background, inputs))
    found = attribute(_product, row, rows)
    assert found.values.sum() + found.base == pytest.approx(_product(row[None])[0], abs=1e-9)


@given(st.integers(1, 6), st.integers(1, MAX_BACKGROUND), st.integers(0, 1_000))
def test_a_linear_models_values_are_exact(inputs: int, background: int, seed: int):
    """Each value is the weight times the distance from the background's mean."""
    generator = np.random.default_rng(seed)
    weights, row, rows = (generator.normal(size=size) for size in (inputs, inputs, (background, inputs)))
    found = attribute(lambda matrix: matrix @ weights, row, rows)
    np.testing.assert_allclose(found.values, weights * (row - rows.mean(axis=0)), atol=1e-9)


def test_inputs_that_act_together_share_the_gain():
    """Against one background row, an order and its reverse are all orders of two inputs."""
    row, rows = np.array([2.0, 5.0]), np.array([[1.0, 1.0]])
    gains = np.zeros(2)
    for order in permutations(range(2)):
        at = rows[0].copy()
        for column in order:
            before = at.prod()
            at[column] = row[column]
            gains[column] += (at.prod() - before) / 2
    np.testing.assert_allclose(attribute(_product, row, rows).values, gains)


def test_an_input_as_in_the_background_adds_nothing():
    """Missing in both, or equal in both."""
    row = np.array([np.nan, 3.0, 4.0], np.float32)
    rows = np.array([[np.nan, 3.0, 1.0], [np.nan, 3.0, 2.0]], np.float32)
    found = attribute(lambda matrix: np.nansum(matrix, axis=1).astype(np.float64), row, rows)
    np.testing.assert_allclose(found.values, [0.0, 0.0, 2.5])


def test_the_same_call_has_the_same_values():
    """The sampled orders are fixed."""
    generator = np.random.default_rng(4)
    row, rows = generator.normal(size=5), generator.normal(size=(9, 5))
    np.testing.assert_array_equal(attribute(_product, row, rows).values, attribute(_product, row, rows).values)

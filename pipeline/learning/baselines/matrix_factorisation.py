"""Explicit matrix factorisation of ratings (Koren, Bell and Volinsky, IEEE 2009)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Float64Array, RowIndices

_WIDTH: Final = 16
_L2: Final = 0.1
_BIAS_L2: Final = 5.0
_ROUNDS: Final = 12


@dataclass(frozen=True, eq=False)
class MatrixFactorisation:
    """Ratings as mean + biases + inner products.

    Attributes:
        mean: Of all ratings.
        user_bias: float64[users].
        item_bias: float64[items].
        users: float64[users, width].
        items: float64[items, width].
    """

    mean: float
    user_bias: Float64Array
    item_bias: Float64Array
    users: Float64Array
    items: Float64Array

    def predict(self, users: RowIndices, items: RowIndices) -> Float64Array:
        """Return the rating of each pair of user and item, -1 for one that is not known; shape [pairs]."""
        user, item = users >= 0, items >= 0
        rating = self.mean + self.user_bias[users] * user + self.item_bias[items] * item
        inner = np.einsum("pw,pw->p", self.users[users], self.items[items])
        return np.asarray(rating + inner * (user & item), np.float64)


def fit_ratings(users: RowIndices, items: RowIndices, ratings: Float64Array, seed: int = 0) -> MatrixFactorisation:
    """Fit biases, shrunk to 0, then factors by alternating ridge regression, each weighed by its number of ratings.

    Args:
        users: User of each rating, numbered from 0.
        items: Item of each rating, likewise.
        ratings: The ratings; all three of shape [ratings], which is at least 1.
        seed: Seed of the factors that it starts from.
    """
    mean = float(ratings.mean())
    item_bias = _bias(items, ratings - mean)
    user_bias = _bias(users, ratings - mean - item_bias[items])
    left = ratings - mean - item_bias[items] - user_bias[users]
    generator = np.random.default_rng(seed)
    of_items = generator.normal(0, 0.1, (len(item_bias), _WIDTH))
    of_users = np.zeros((len(user_bias), _WIDTH))
    for _ in range(_ROUNDS):
        of_users = _solve(users, of_items[items], left, len(user_bias))
        of_items = _solve(items, of_users[users], left, len(item_bias))
    return MatrixFactorisation(mean, user_bias, item_bias, of_users, of_items)


def _bias(groups: RowIndices, left: Float64Array) -> Float64Array:
    """Return the mean of each group, shrunk to 0 by five ratings of 0."""
    return np.asarray(np.bincount(groups, left) / (np.bincount(groups) + _BIAS_L2))


def _solve(groups: RowIndices, factors: Float64Array, left: Float64Array, count: int) -> Float64Array:
    """Fit each group's factors to what is left, by ridge regression on the other side's factors."""
    solved = np.zeros((count, _WIDTH))
    order = np.argsort(groups, kind="stable")
    numbers, starts = np.unique(groups[order], return_index=True)
    for number, rows in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
        gram = factors[rows].T @ factors[rows] + _L2 * len(rows) * np.eye(_WIDTH)
        solved[number] = np.linalg.solve(gram, factors[rows].T @ left[rows])
    return solved

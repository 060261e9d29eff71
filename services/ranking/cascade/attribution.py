"""Shapley values of a model's inputs: what each adds to the score, on average over the orders of adding them.

Estimated over sampled orders, each walked forwards and backwards (Štrumbelj and Kononenko, "Explaining prediction
models and individual predictions with feature contributions", Knowledge and Information Systems 41, 2014). Whatever the
sample, the values sum to the score minus the mean score of the background.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Float64Array, FloatArray

# Each background row costs twice as many scored rows as there are inputs.
MAX_BACKGROUND: Final = 32
_SEED: Final = 0


@dataclass(frozen=True)
class Attribution:
    """What the inputs of one row add to its score.

    Attributes:
        values: One for each input; float64[inputs].
        base: The mean score of the background rows that were used.
    """

    values: Float64Array
    base: float


def attribute(score: Callable[[FloatArray], Float64Array], row: FloatArray, background: FloatArray) -> Attribution:
    """Compute the Shapley values of a row's inputs against a background.

    Args:
        score: Returns the score of each row of float32[rows, inputs]; float64[rows].
        row: The row to explain; float32[inputs].
        background: At least one row that it is compared with; of more than `MAX_BACKGROUND`, some at equal distances
            are used. float32[rows, inputs].
    """
    chosen = np.unique(np.linspace(0, len(background) - 1, MAX_BACKGROUND).astype(np.int64))
    orders = _orders(len(chosen), len(row))
    walks = np.repeat(background[np.repeat(chosen, 2)][:, None, :], len(row) + 1, axis=1)
    for walk, order in zip(walks, orders, strict=True):
        for step, column in enumerate(order.tolist(), start=1):
            walk[step:, column] = row[column]
    scores = score(walks.reshape(-1, len(row))).reshape(len(orders), len(row) + 1)
    values = np.zeros(len(row))
    for order, gains in zip(orders, np.diff(scores, axis=1), strict=True):
        values[order] += gains
    return Attribution(values / len(orders), float(scores[:, 0].mean()))


def _orders(count: int, inputs: int) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return ``count`` random orders, each followed by its reverse; the same ones every time."""
    generator = np.random.default_rng(_SEED)
    forwards = [generator.permutation(inputs) for _ in range(count)]
    return [order for forward in forwards for order in (forward, forward[::-1])]

"""Of what was found for each query, the first few that pass."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices

T = TypeVar("T", bound=np.dtype[Any])


def oversample(
    labels: RowIndices, scores: Float32Array | None, passes: BoolMask, least: int, most: int
) -> tuple[RowIndices, Float32Array | None] | None:
    """Keep the first ``most`` of each row that pass, -1 where there are fewer; None where a row has not ``least``.

    Args:
        labels: What was found, best first; shape [queries, n].
        scores: Its inner products where they are known; shape [queries, n].
        passes: Which of it passes, shape [queries, n]; is written to.
        least: How many each query needs.
        most: How many are kept of each.
    """
    ranks = passes.cumsum(axis=1)
    there = ranks[:, -1:]
    if (there < least).any():
        return None
    passes &= ranks <= most
    shape = len(labels), min(most, labels.shape[1])
    if (there >= most).all():
        return labels[passes].reshape(shape), None if scores is None else scores[passes].reshape(shape)
    filled = np.arange(shape[1]) < there
    return _placed(labels[passes], filled, -1), None if scores is None else _placed(scores[passes], filled, -np.inf)


def _placed(values: np.ndarray[Any, T], places: BoolMask, otherwise: float) -> np.ndarray[Any, T]:
    """Return a table with values at some places, row by row, and another value everywhere else."""
    table = np.full(places.shape, otherwise, dtype=values.dtype)
    table[places] = values
    return table

"""Keeps the first few hits of each query that pass a mask: search finds more than needed, then drops the rest."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices

T = TypeVar("T", bound=np.dtype[Any])


def first_passing(
    labels: RowIndices, scores: Float32Array | None, passes: BoolMask, min_hits: int, max_hits: int
) -> tuple[RowIndices, Float32Array | None] | None:
    """Keep the first ``max_hits`` hits of each query that pass, padded with -1.

    Args:
        labels: Hits, best first; shape [queries, n].
        scores: Their inner products if known; shape [queries, n].
        passes: Which hits pass, shape [queries, n]; is overwritten.
        min_hits: How many each query needs.
        max_hits: How many are kept of each.

    Returns:
        Labels and scores, or None if a query has fewer than ``min_hits``.
    """
    ranks = passes.cumsum(axis=1)
    counts = ranks[:, -1:]
    if (counts < min_hits).any():
        return None
    passes &= ranks <= max_hits
    shape = len(labels), min(max_hits, labels.shape[1])
    if (counts >= max_hits).all():
        return labels[passes].reshape(shape), None if scores is None else scores[passes].reshape(shape)
    filled = np.arange(shape[1]) < counts
    return _padded(labels[passes], filled, -1), None if scores is None else _padded(scores[passes], filled, -np.inf)


def _padded(values: np.ndarray[Any, T], filled: BoolMask, padding: float) -> np.ndarray[Any, T]:
    """Return a table with ``values`` in the ``filled`` cells, row by row, and ``padding`` in the others."""
    table = np.full(filled.shape, padding, dtype=values.dtype)
    table[filled] = values
    return table

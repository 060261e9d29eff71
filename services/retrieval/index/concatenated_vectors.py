"""Two tables of vectors read as one, without a copy of either."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array, RowIndices


class ConcatenatedVectors:
    """The rows of one table, and behind them those of another. Reads as an array does, as far as search reads one.

    Args:
        above: Shape [rows, dimension]; may be memory-mapped.
        below: Shape [further rows, dimension].
    """

    def __init__(self, above: Float32Array, below: Float32Array) -> None:
        self.above = above
        self.below = below

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows there are, and how many numbers each has."""
        return len(self), self.above.shape[1]

    def __len__(self) -> int:
        return len(self.above) + len(self.below)

    def __getitem__(self, rows: RowIndices) -> Float32Array:
        """Return rows; shape [rows, dimension]."""
        of_below = rows >= len(self.above)
        vectors = np.empty((len(rows), self.above.shape[1]), dtype=np.float32)
        vectors[~of_below] = self.above[rows[~of_below]]
        vectors[of_below] = self.below[rows[of_below] - len(self.above)]
        return vectors

    def __matmul__(self, query: Float32Array) -> Float32Array:
        """Return every row's product with a vector; shape [rows]."""
        products: Float32Array = np.concatenate([self.above @ query, self.below @ query])
        return products

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Copy both into one array, for what needs that."""
        del copy
        return np.concatenate([self.above, self.below]).astype(dtype or np.float32, copy=False)


# What can be searched through.
Table = Float32Array | ConcatenatedVectors

"""Two tables of vectors read as one, without a copy of either."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array, RowIndices


class ConcatenatedVectors:
    """The rows of one table, followed by those of another. Implements what a search uses of an array.

    Args:
        head: Shape [rows, dimension]; may be memory-mapped.
        tail: Shape [more rows, dimension].
    """

    def __init__(self, head: Float32Array, tail: Float32Array) -> None:
        self.head = head
        self.tail = tail

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and numbers per row."""
        return len(self), self.head.shape[1]

    def __len__(self) -> int:
        return len(self.head) + len(self.tail)

    def __getitem__(self, rows: RowIndices) -> Float32Array:
        """Return rows; shape [rows, dimension]."""
        in_tail = rows >= len(self.head)
        vectors = np.empty((len(rows), self.head.shape[1]), dtype=np.float32)
        vectors[~in_tail] = self.head[rows[~in_tail]]
        vectors[in_tail] = self.tail[rows[in_tail] - len(self.head)]
        return vectors

    def __matmul__(self, query: Float32Array) -> Float32Array:
        """Return the inner product of every row with a vector; shape [rows]."""
        products: Float32Array = np.concatenate([self.head @ query, self.tail @ query])
        return products

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Copy both into one array."""
        del copy
        return np.concatenate([self.head, self.tail]).astype(dtype or np.float32, copy=False)


# Vectors that can be searched.
Table = Float32Array | ConcatenatedVectors

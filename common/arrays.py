"""Array types by their content, and small functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
# Of any precision.
FloatArray = npt.NDArray[np.floating[Any]]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Int8Array = npt.NDArray[np.int8]
UInt8Array = npt.NDArray[np.uint8]
# Row numbers of a table, or indices into an array.
RowIndices = npt.NDArray[np.int64]
# Token numbers of a vocabulary.
TokenIds = npt.NDArray[np.int32]
BoolMask = npt.NDArray[np.bool_]


def unit_vectors(vectors: Float32Array) -> Float32Array:
    """Scale vectors to unit length; shape [n, dimension] or [dimension]. None of them may be all zero."""
    wide = vectors.astype(np.float64)  # squares of large numbers would overflow in float32
    # One vector at a time, so that a result does not depend on the other vectors.
    wide /= np.sqrt(np.vecdot(wide, wide))[..., np.newaxis]
    return wide.astype(np.float32)


def stack_vectors(vectors: Sequence[Float32Array]) -> Float32Array:
    """Return vectors (at least one) as a matrix, faster than `np.stack`; shape [vectors, dimension]."""
    return np.concatenate(vectors).reshape(len(vectors), -1)

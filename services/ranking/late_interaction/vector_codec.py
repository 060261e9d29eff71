"""Scalar quantisation of vectors: equal steps in each dimension, so that dot products are integer arithmetic.

Level ``k`` of dimension ``d`` encodes the value ``(k - zero) * step[d]``. The steps are multiplied into the query's
vectors, which are rounded to 7 bits. A dot product is then a sum of products of a byte and a signed byte, times one
factor for each query vector. The query has 7 bits because processors without VNNI add two such products in 16 bits,
which 8 bits would overflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array, Int32Array, UInt8Array

Bits = Literal[4, 8]
_MAX_QUERY_LEVEL: Final = 63


@dataclass(frozen=True, eq=False)
class VectorCodec:
    """Encodes and decodes vectors.

    Attributes:
        step: The step between levels in each dimension, above 0; float32[width]. The width is even.
        bits: Bits of a dimension; with 4 bits two dimensions share a byte.
    """

    step: Float32Array
    bits: Bits

    @property
    def width(self) -> int:
        """The number of dimensions."""
        return len(self.step)

    @property
    def row_bytes(self) -> int:
        """How many bytes an encoded vector takes."""
        return self.width * self.bits // 8

    @property
    def zero(self) -> float:
        """The level of the value 0, between two whole levels."""
        return ((1 << self.bits) - 1) / 2

    def encode(self, vectors: Float32Array) -> UInt8Array:
        """Return float32[rows, width] as uint8[rows, row_bytes]; values outside the range are clipped."""
        levels: UInt8Array = np.rint(vectors / self.step + self.zero).clip(0, 2 * self.zero).astype(np.uint8)
        if self.bits == 8:  # noqa: PLR2004 - a byte
            return levels
        low, high = np.split(levels, 2, axis=1)
        return np.asarray(low | high << 4, dtype=np.uint8)

    def levels(self, codes: UInt8Array) -> UInt8Array:
        """Unpack encoded vectors to one byte a dimension; uint8[rows, width]."""
        if self.bits == 8:  # noqa: PLR2004 - a byte
            return codes
        levels = np.empty((len(codes), self.width), dtype=np.uint8)
        half = self.width // 2
        np.bitwise_and(codes, 15, out=levels[:, :half])
        np.right_shift(codes, 4, out=levels[:, half:])
        return levels

    def decode(self, codes: UInt8Array) -> Float32Array:
        """Return the values of encoded vectors; float32[rows, width]."""
        values: Float32Array = (self.levels(codes) - np.float32(self.zero)) * self.step
        return values

    def prepare_query(self, vectors: Float32Array) -> QueryVectors:
        """Prepare vectors for dot products with encoded ones; float32[rows, width]."""
        scaled = vectors * self.step
        unit = np.maximum(np.abs(scaled).max(axis=1, initial=0.0) / _MAX_QUERY_LEVEL, np.finfo(np.float32).tiny)
        rounded = np.rint(scaled / unit[:, None]).astype(np.int8)
        offset = -self.zero * rounded.sum(axis=1, dtype=np.int32)
        return QueryVectors(np.ascontiguousarray(rounded.T), unit.astype(np.float32), offset.astype(np.float32))


@dataclass(frozen=True, eq=False)
class QueryVectors:
    """Query vectors: the dot product with vector ``i`` is ``(levels @ codes[:, i] + offset[i]) * unit[i]``.

    Attributes:
        codes: int8[width, rows], within 63 of 0.
        unit: float32[rows].
        offset: float32[rows].
    """

    codes: npt.NDArray[np.int8]
    unit: Float32Array
    offset: Float32Array

    def __len__(self) -> int:
        return len(self.unit)

    def dot_products(self, integer_products: Int32Array) -> Float32Array:
        """Return the dot products of integer products; shapes [..., rows]."""
        products: Float32Array = (integer_products + self.offset) * self.unit
        return products

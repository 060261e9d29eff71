"""Vectors in few bits: each dimension in equal steps of its own, so that dot products are whole-number arithmetic.

A level ``k`` of dimension ``d`` stands for ``(k - zero) * step[d]``. The steps are folded into the context's vectors,
which are rounded to 7 bits: a dot product is then a sum of products of a byte and a signed byte, times one number for
each context vector. 7 bits, since the processors without VNNI add two such products in 16 bits, which 8 would overflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array, UInt8Array

Bits = Literal[4, 8]


_CONTEXT_LEVELS: Final = 63


@dataclass(frozen=True, eq=False)
class VectorCodec:
    """How vectors are stored.

    Attributes:
        step: The size of a level in each dimension, above 0; float32[width]. The width is even.
        bits: Of a dimension; two dimensions share a byte at 4.
    """

    step: Float32Array
    bits: Bits

    @property
    def width(self) -> int:
        """The vectors' dimensions."""
        return len(self.step)

    @property
    def row_bytes(self) -> int:
        """What a vector takes."""
        return self.width * self.bits // 8

    @property
    def zero(self) -> float:
        """The level, between two, that stands for 0."""
        return ((1 << self.bits) - 1) / 2

    def encode(self, vectors: Float32Array) -> UInt8Array:
        """Return float32[rows, width] as uint8[rows, row_bytes]; values out of reach become the nearest within."""
        levels: UInt8Array = np.rint(vectors / self.step + self.zero).clip(0, 2 * self.zero).astype(np.uint8)
        if self.bits == 8:  # noqa: PLR2004 - a byte
            return levels
        low, high = np.split(levels, 2, axis=1)
        return np.asarray(low | high << 4, dtype=np.uint8)

    def levels(self, codes: UInt8Array) -> UInt8Array:
        """Return encoded vectors with one byte a dimension; uint8[rows, width]."""
        if self.bits == 8:  # noqa: PLR2004 - a byte
            return codes
        levels = np.empty((len(codes), self.width), dtype=np.uint8)
        half = self.width // 2
        np.bitwise_and(codes, 15, out=levels[:, :half])
        np.right_shift(codes, 4, out=levels[:, half:])
        return levels

    def decode(self, codes: UInt8Array) -> Float32Array:
        """Return what encoded vectors stand for; float32[rows, width]."""
        values: Float32Array = (self.levels(codes) - np.float32(self.zero)) * self.step
        return values

    def ask(self, vectors: Float32Array) -> QueryVectors:
        """Prepare vectors whose dot products with encoded ones are wanted; float32[rows, width]."""
        folded = vectors * self.step
        unit = np.maximum(np.abs(folded).max(axis=1, initial=0.0) / _CONTEXT_LEVELS, np.finfo(np.float32).tiny)
        rounded = np.rint(folded / unit[:, None]).astype(np.int8)
        offset = -self.zero * rounded.sum(axis=1, dtype=np.int32)
        return QueryVectors(np.ascontiguousarray(rounded.T), unit.astype(np.float32), offset.astype(np.float32))


@dataclass(frozen=True, eq=False)
class QueryVectors:
    """Vectors to multiply with levels: dot product ``i`` is ``(levels @ codes[:, i] + offset[i]) * unit[i]``.

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

    def products(self, sums: npt.NDArray[np.int32]) -> Float32Array:
        """Return the dot products that whole-number sums stand for; shapes [..., rows]."""
        products: Float32Array = (sums + self.offset) * self.unit
        return products

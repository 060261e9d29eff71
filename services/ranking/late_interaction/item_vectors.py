"""The items' vectors in the release: one row of bytes a token, memory-mapped, shared by items with equal texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array, Int64Array, UInt8Array
from common.errors import BadRelease
from common.ragged import offsets_from_lengths, ragged_indices
from common.release import layout
from common.release.store import Release
from services.ranking.late_interaction.settings import LateInteractionSettings
from services.ranking.late_interaction.tower import TextVectors
from services.ranking.late_interaction.vector_codec import VectorCodec


@dataclass(frozen=True, eq=False)
class LateItemRows:
    """The encoded vectors of some items.

    Attributes:
        codes: The items' token vectors, concatenated; uint8[tokens, row_bytes].
        lengths: How many token vectors each item has, at least one; int64[items].
        pooled: The items' pooled vectors, one level a byte; uint8[items, width].
        prior: Added to each item's score; float32[items].
    """

    codes: UInt8Array
    lengths: Int64Array
    pooled: UInt8Array
    prior: Float32Array

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def from_vectors(cls, texts: TextVectors, tokens: VectorCodec, pooled: VectorCodec) -> Self:
        """Encode vectors of the tower."""
        return cls(tokens.encode(texts.vectors), texts.lengths, pooled.encode(texts.pooled), texts.prior)

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """Concatenate items."""
        names = ("codes", "lengths", "pooled", "prior")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def row(self, index: int) -> LateItemRows:
        """Return a copy of one item, which does not keep the others in memory."""
        start = int(self.lengths[:index].sum())
        one = slice(index, index + 1)
        codes = self.codes[start : start + int(self.lengths[index])]
        return LateItemRows(codes.copy(), self.lengths[one].copy(), self.pooled[one].copy(), self.prior[one].copy())


class LateItemVectors:
    """The vectors of a catalogue's items.

    Attributes:
        tokens: The codec of token vectors.
        pooled: The codec of pooled vectors, which have 8 bits.
    """

    def __init__(self, tokens: VectorCodec, pooled: VectorCodec, texts: LateItemRows, text_of_item: Int64Array) -> None:
        self.tokens = tokens
        self.pooled = pooled
        self._texts = texts
        self._text_of_item = text_of_item
        self._offsets = offsets_from_lengths(texts.lengths)

    @classmethod
    def load(cls, release: Release, settings: LateInteractionSettings, items: int) -> Self:
        """Map a release's vectors; raises BadRelease, which names the file that does not fit the others."""
        files = _Files(release)
        step = files.array(layout.LATE_STEPS, np.float32, (2, settings.width))
        files.check(layout.LATE_STEPS, bool((np.isfinite(step) & (step > 0)).all()), "has steps that are not above 0")
        tokens, pooled = VectorCodec(step[0], settings.bits), VectorCodec(step[1], 8)
        lengths = files.array(layout.LATE_LENGTHS, np.uint16, (None,))
        files.check(layout.LATE_LENGTHS, bool((lengths > 0).all()), "has texts without a vector")
        total, texts = int(lengths.sum(dtype=np.int64)), len(lengths)
        rows = LateItemRows(
            files.array(layout.LATE_TOKENS, np.uint8, (total, tokens.row_bytes)),
            lengths.astype(np.int64),
            files.array(layout.LATE_POOLED, np.uint8, (texts, settings.width)),
            files.array(layout.LATE_PRIOR, np.float32, (texts,)),
        )
        files.check(layout.LATE_PRIOR, bool(np.isfinite(rows.prior).all()), "has values that are not finite")
        text_of_item = files.array(layout.LATE_TEXT_OF_ITEM, np.int32, (items,))
        inside = bool(((text_of_item >= 0) & (text_of_item < texts)).all())
        files.check(layout.LATE_TEXT_OF_ITEM, inside, f"references unknown texts (have {texts})")
        return cls(tokens, pooled, rows, text_of_item.astype(np.int64))

    def vectors_of(self, rows: Int64Array) -> LateItemRows:
        """Return copies of items' vectors by catalogue row."""
        texts = self._text_of_item[rows]
        lengths = self._texts.lengths[texts]
        tokens = ragged_indices(self._offsets[texts], lengths)
        return LateItemRows(
            self._texts.codes.take(tokens, axis=0), lengths, self._texts.pooled[texts], self._texts.prior[texts]
        )

    def nbytes(self) -> int:
        """Return how many bytes the vectors of all items take."""
        texts = self._texts
        return sum(int(array.nbytes) for array in (texts.codes, texts.pooled, texts.prior))


@dataclass(frozen=True)
class _Files:
    """Maps and checks a release's arrays."""

    release: Release

    def array(self, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
        """Map an array and check its dtype and shape; None in a shape is any size."""
        file = self.release.file(name)
        try:
            array = np.asarray(np.load(file, mmap_mode="r"))
        except (OSError, ValueError) as error:
            raise BadRelease(f"release {self.release.id}: {name} is not an array: {error}") from error
        fits = array.ndim == len(shape) and all(
            expected in (None, size) for size, expected in zip(array.shape, shape, strict=False)
        )
        required = f"{np.dtype(dtype)}{['any' if size is None else size for size in shape]}"
        self.check(name, fits and array.dtype == dtype, f"is {array.dtype}{list(array.shape)} instead of {required}")
        return array

    def check(self, name: str, holds: bool, fault: str) -> None:
        if not holds:
            raise BadRelease(f"release {self.release.id}: {name} {fault}; build it again")

"""Rows of different lengths in one flat array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.arrays import Int64Array, TokenIds


@dataclass(frozen=True)
class TokenRows:
    """Rows of token ids.

    Attributes:
        tokens: The rows one after the other; shape [tokens].
        offsets: Where each row begins and the last one ends; shape [rows + 1].
    """

    tokens: TokenIds
    offsets: Int64Array

    @classmethod
    def of(cls, rows: Sequence[npt.ArrayLike]) -> TokenRows:
        """Lay rows of token ids one after the other."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        tokens = np.concatenate(arrays) if arrays else np.empty(0, np.int32)
        return cls(tokens, offsets_from_lengths(np.fromiter((len(row) for row in arrays), np.int64, len(arrays))))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[TokenIds]:
        return map(self.row, range(len(self)))

    @property
    def lengths(self) -> Int64Array:
        """How many tokens each row has; shape [rows]."""
        lengths: Int64Array = self.offsets[1:] - self.offsets[:-1]  # np.diff takes three times as long for a hundred
        return lengths

    def row(self, index: int) -> TokenIds:
        """Return one row; a view, shape [tokens of the row]."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def part(self, start: int, stop: int) -> TokenRows:
        """Return the rows from ``start`` to ``stop``; their tokens are a view."""
        first, end = self.offsets[start], self.offsets[stop]
        return TokenRows(self.tokens[first:end], self.offsets[start : stop + 1] - first)

    def take(self, rows: Int64Array, longest: int | None = None) -> TokenRows:
        """Return some rows, each cut to its first ``longest`` tokens."""
        lengths = self.lengths[rows]
        if longest is not None:
            lengths = np.minimum(lengths, longest)
        return TokenRows(self.tokens[ragged_indices(self.offsets[rows], lengths)], offsets_from_lengths(lengths))

    def cut(self, longest: int) -> TokenRows:
        """Return every row cut to its first ``longest`` tokens."""
        return self if not len(self) or self.lengths.max() <= longest else self.take(np.arange(len(self)), longest)


def offsets_from_lengths(lengths: Int64Array) -> Int64Array:
    """Return where rows of such lengths begin when laid one after the other, and where the last ends."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def ragged_indices(starts: Int64Array, lengths: Int64Array) -> Int64Array:
    """Return ``starts[i], starts[i] + 1, …`` for ``lengths[i]`` steps, one row after the other, without a loop."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    steps: Int64Array = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return steps

"""Item-to-item tables: for each item the items that users go on to, with a weight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from common.release.layout import graph_file

if TYPE_CHECKING:
    from common.release.store import Release
from common.arrays import Float32Array, RowIndices

_PARTS = ("indptr", "indices", "weights")


@dataclass(frozen=True)
class ItemGraph:
    """A sparse item-to-item table in CSR form, memory-mapped from a release.

    Attributes:
        indptr: Where each item's neighbours begin; shape [items + 1].
        indices: Catalogue rows of the neighbours; shape [entries].
        weights: Their weights; shape [entries].
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    weights: Float32Array

    @classmethod
    def load(cls, release: Release, name: str) -> ItemGraph:
        """Map the graph called ``name`` from a release; raises BadRelease where the release has none."""
        return cls(*(np.load(release.file(graph_file(name, part)), mmap_mode="r") for part in _PARTS))

    def save(self, folder: Path, name: str) -> None:
        """Write the graph into a release's folder."""
        for part in _PARTS:
            file = folder / graph_file(name, part)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(
                missing_ok=True
            )  # who has mapped the file keeps the old one; writing into it would change theirs
            np.save(file, getattr(self, part))

    @property
    def items(self) -> int:
        """How many items the table has."""
        return len(self.indptr) - 1

    def spread(self, rows: RowIndices, weights: Float32Array) -> Float32Array:
        """Sum the neighbours of ``rows``, each row's scaled by its weight.

        Args:
            rows: Catalogue rows, repeats allowed; rows past the table (items added since) and negative ones (unknown
                items, as `Catalogue.rows_of` gives them) have no neighbours.
            weights: One weight for each of ``rows``.

        Returns:
            One score for each item of the table; shape [items].
        """
        scores: Float32Array = self.spread_all(rows, weights[np.newaxis])[0]
        return scores

    def spread_all(self, rows: RowIndices, weights: Float32Array) -> Float32Array:
        """Do as `spread` for several weightings of the same rows: shape [weightings, rows] to [weightings, items]."""
        known = (rows >= 0) & (rows < self.items)
        rows, weights = rows[known], weights[:, known]
        starts, stops = self.indptr[rows], self.indptr[rows + 1]
        lengths = stops - starts
        total = int(lengths.sum())
        if total == 0:
            return np.zeros((len(weights), self.items), dtype=np.float32)
        # Entry numbers of all neighbours, row after row, without a loop over rows.
        ends = np.cumsum(lengths)
        entries = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
        indices, values = self.indices[entries], self.weights[entries]
        sums = [
            np.bincount(indices, weights=values * np.repeat(each, lengths), minlength=self.items) for each in weights
        ]
        return np.array(sums, dtype=np.float32)

"""Item-to-item graphs: for each item the items that users choose next, with a weight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array, RowIndices
from common.ragged import ragged_indices
from common.release.layout import graph_file

if TYPE_CHECKING:
    from common.release.store import Release

_PARTS = ("indptr", "indices", "weights")


@dataclass(frozen=True)
class ItemGraph:
    """A sparse item-to-item matrix in CSR form, memory-mapped from a release.

    Attributes:
        indptr: Where each item's neighbours start; shape [items + 1].
        indices: Catalogue rows of the neighbours; shape [entries].
        weights: Their weights; shape [entries].
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    weights: Float32Array

    @classmethod
    def from_release(cls, release: Release, name: str) -> ItemGraph:
        """Map the graph called ``name`` from a release; raises BadRelease if the release has none."""
        return cls(*(np.load(release.file(graph_file(name, part)), mmap_mode="r") for part in _PARTS))

    def save(self, folder: Path, name: str) -> None:
        """Write the graph into a release's folder."""
        for part in _PARTS:
            file = folder / graph_file(name, part)
            file.parent.mkdir(parents=True, exist_ok=True)
            # A process that has mapped the file keeps the old one; writing into it would change its data.
            file.unlink(missing_ok=True)
            np.save(file, getattr(self, part))

    @property
    def items(self) -> int:
        """The number of items."""
        return len(self.indptr) - 1

    def weighted_sum(self, rows: RowIndices, weights: Float32Array) -> Float32Array:
        """Return the sum of the neighbour weights of ``rows``, each row scaled by its own weight.

        Args:
            rows: Catalogue rows, repeats allowed. Rows beyond the graph (items added since) and negative ones (unknown
                items, see `Catalogue.rows_of`) have no neighbours.
            weights: One weight for each of ``rows``.

        Returns:
            One score for each item of the graph; shape [items].
        """
        scores: Float32Array = self.weighted_sums(rows, weights[np.newaxis])[0]
        return scores

    def weighted_sums(self, rows: RowIndices, weights: Float32Array) -> Float32Array:
        """Like `weighted_sum` for several weightings of the same rows: [weightings, rows] to [weightings, items]."""
        inside = (rows >= 0) & (rows < self.items)
        rows, weights = rows[inside], weights[:, inside]
        starts = self.indptr[rows]
        lengths = self.indptr[rows + 1] - starts
        entries = ragged_indices(starts, lengths)
        if not len(entries):
            return np.zeros((len(weights), self.items), dtype=np.float32)
        indices, values = self.indices[entries], self.weights[entries]
        sums = [
            np.bincount(indices, weights=values * np.repeat(each, lengths), minlength=self.items) for each in weights
        ]
        return np.array(sums, dtype=np.float32)

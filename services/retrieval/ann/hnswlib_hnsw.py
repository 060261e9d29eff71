"""hnswlib's HNSW graph over float32 vectors.

hnswlib 0.8 must not be searched while it is changed, and raises if a search finds fewer than k. It releases the GIL
while it searches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import hnswlib
import numpy as np

from common.arrays import Float32Array, RowIndices
from common.errors import BadRelease
from common.release.layout import HNSW_INDEX
from services.retrieval.ann.ann_index import IndexOptions


class HnswlibHnsw:
    """Implements `AnnIndex`. Make it with `empty` or `load`.

    Args:
        index: hnswlib's index, with its capacity set.
    """

    file_name: Final = HNSW_INDEX
    kind: Final = "hnsw"
    is_graph: Final = True
    # About 1.5 µs for an entry of the candidate list against 0.15 µs for a row, at 384 dimensions and M = 16.
    rows_per_candidate: Final = 10.0

    def __init__(self, index: hnswlib.Index) -> None:
        self._index = index

    @classmethod
    def empty(cls, dimension: int, capacity: int, options: IndexOptions) -> HnswlibHnsw:
        """Return a graph without vectors, with room for ``capacity``."""
        index = hnswlib.Index(space="ip", dim=dimension)
        index.init_index(max(1, capacity), options.m, options.ef_construction, random_seed=options.seed)
        return cls(index)

    @classmethod
    def load(cls, folder: Path, dimension: int) -> HnswlibHnsw:
        """Load the graph of the release in ``folder``; raises BadRelease if the file can't be read."""
        index = hnswlib.Index(space="ip", dim=dimension)
        try:
            index.load_index(str(folder / HNSW_INDEX))
        except RuntimeError as error:
            raise BadRelease(f"{HNSW_INDEX} can't be read; build the release again") from error
        return cls(index)

    def __len__(self) -> int:
        return int(self._index.get_current_count())

    def set_ef_search(self, ef_search: int) -> None:
        """Change the length of the candidate list; see `AnnIndex.set_ef_search`."""
        self._index.set_ef(ef_search)  # hnswlib raises it to k for searches with a larger k

    def candidates_needed(self, k: int) -> int:
        """Return ``k``, because its products are exact; see `AnnIndex.candidates_needed`."""
        return k

    def search(self, vectors: Float32Array, k: int) -> tuple[RowIndices, Float32Array | None] | None:
        """Find the ``k`` nearest vectors; see `AnnIndex.search`."""
        try:
            labels, distances = self._index.knn_query(vectors, k=k, num_threads=1)
        except RuntimeError:  # fewer than k can be reached
            return None
        return labels.view(np.int64), 1 - distances  # labels are uint64, and far below 2^63

    def add(self, labels: RowIndices, vectors: Float32Array, threads: int = 1) -> None:
        """Add or replace vectors; see `AnnIndex.add`."""
        if not len(labels):
            return
        self._reserve(labels)
        self._index.add_items(vectors, labels, num_threads=threads or -1)

    def remove(self, labels: RowIndices) -> None:
        """Mark vectors as removed; searches still walk through them. See `AnnIndex.remove`."""
        for label in labels.tolist():
            self._index.mark_deleted(label)

    def new_empty(self, capacity: int) -> HnswlibHnsw:
        """Return an empty graph with the same options; see `AnnIndex.new_empty`."""
        options = IndexOptions(m=self._index.M, ef_construction=self._index.ef_construction)
        return self.empty(self._index.dim, capacity, options)

    def save(self, folder: Path) -> None:
        """Write it into a release's folder."""
        self._index.save_index(str(folder / HNSW_INDEX))

    def _reserve(self, labels: RowIndices) -> None:
        """Grow the capacity by at least half if ``labels`` do not fit."""
        capacity = self._index.get_max_elements()
        if len(self) + len(labels) <= capacity:
            return
        needed = len(self) + len(np.setdiff1d(labels, self._index.get_ids_list()))
        if needed > capacity:
            self._index.resize_index(max(needed, capacity * 3 // 2))

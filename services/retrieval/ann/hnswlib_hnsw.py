"""hnswlib's graph of float32 vectors.

What hnswlib 0.8 leaves to its users: searching while inserting is unsafe, and a search that finds fewer than k raises.
It releases the GIL while it searches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import hnswlib
import numpy as np

from common.arrays import Float32Array, RowIndices
from common.errors import BadRelease
from common.release.layout import INDEX
from services.retrieval.ann.ann_index import HnswOptions


class HnswlibHnsw:
    """Implements `Graph`. Make it with `empty` or `load`.

    Args:
        index: hnswlib's, with its room.
    """

    file: Final = INDEX
    numbers: Final = "float32"
    linked: Final = True
    # About 1.5 µs for an entry of the candidate list against 0.15 µs at 384 dimensions and M = 16.
    rows_an_entry: Final = 10.0

    def __init__(self, index: hnswlib.Index) -> None:
        self._index = index

    @classmethod
    def empty(cls, dimension: int, size: int, options: HnswOptions) -> HnswlibHnsw:
        """Return a graph without vectors, with room for ``size``."""
        index = hnswlib.Index(space="ip", dim=dimension)
        index.init_index(max(1, size), options.m, options.ef_construction, random_seed=options.seed)
        return cls(index)

    @classmethod
    def load(cls, folder: Path, dimension: int) -> HnswlibHnsw:
        """Load the graph of the release in ``folder``; raises BadRelease where the file can't be read."""
        index = hnswlib.Index(space="ip", dim=dimension)
        try:
            index.load_index(str(folder / INDEX))
        except RuntimeError as error:
            raise BadRelease(f"{INDEX} can't be read; build the release again") from error
        return cls(index)

    def __len__(self) -> int:
        return int(self._index.get_current_count())

    def set_ef_search(self, ef_search: int) -> None:
        """Change the length of the candidate list; see `Graph.set_ef_search`."""
        self._index.set_ef(ef_search)  # upstream raises it to k for searches that ask for more

    def asked(self, k: int) -> int:
        """Return ``k``: it compares by the vectors themselves; see `Graph.asked`."""
        return k

    def nearest(self, vectors: Float32Array, k: int) -> tuple[RowIndices, Float32Array | None] | None:
        """Walk to the ``k`` vectors most like each query; see `Graph.nearest`."""
        try:
            labels, distances = self._index.knn_query(vectors, k=k, num_threads=1)
        except RuntimeError:  # fewer than asked for can be reached
            return None
        return labels.view(np.int64), 1 - distances  # it labels in uint64: nobody has 2^63 vectors

    def add(self, labels: RowIndices, vectors: Float32Array, threads: int = 1) -> None:
        """Add or replace vectors; see `Graph.add`."""
        if not len(labels):
            return
        self._reserve(labels)
        self._index.add_items(vectors, labels, num_threads=threads or -1)

    def remove(self, labels: RowIndices) -> None:
        """Mark vectors as removed; see `Graph.remove`."""
        for label in labels.tolist():
            self._index.mark_deleted(label)

    def fresh(self, size: int) -> HnswlibHnsw:
        """Return a graph without vectors that builds as this one does; see `Graph.fresh`."""
        options = HnswOptions(m=self._index.M, ef_construction=self._index.ef_construction)
        return self.empty(self._index.dim, size, options)

    def save(self, folder: Path) -> None:
        """Write it into a release's folder."""
        self._index.save_index(str(folder / INDEX))

    def _reserve(self, labels: RowIndices) -> None:
        """Make room, by half of what there is at least."""
        room = self._index.get_max_elements()
        if len(self) + len(labels) <= room:
            return
        needed = len(self) + len(np.setdiff1d(labels, self._index.get_ids_list()))
        if needed > room:
            self._index.resize_index(max(needed, room * 3 // 2))

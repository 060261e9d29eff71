"""Exact search: compares the query with every vector. It is also the oracle in tests of the other indexes."""

from __future__ import annotations

from pathlib import Path

from common.arrays import BoolMask, Float32Array, RowIndices
from services.retrieval.ann.ann_index import IndexType
from services.retrieval.index.concatenated_vectors import Table
from services.retrieval.index.read_write_lock import ReadWriteLock
from services.retrieval.index.scoring import nearest
from services.retrieval.index.vector_index import Hits, check_search
from services.retrieval.index.vector_storage import VectorStorage


class FlatIndex:
    """Compares a query with every allowed vector; implements `VectorIndex`.

    Args:
        vectors: Unit vectors, the label of each being its row; may be memory-mapped, is copied at the first change.
        removed: Labels of vectors that can't be found.
    """

    def __init__(self, vectors: Table, removed: RowIndices | None = None) -> None:
        self._lock = ReadWriteLock()
        self._storage = VectorStorage(vectors, removed)

    @classmethod
    def load(cls, folder: Path) -> FlatIndex:
        """Map the vectors of the release in ``folder``."""
        storage = VectorStorage.load(folder)
        return cls(storage.table, storage.removed_labels)

    def save(self, folder: Path) -> None:
        """Write the vectors into a release's folder; see `VectorStorage.save`."""
        with self._lock.read():
            self._storage.save(folder)

    def close(self, *, discard: bool = False) -> None:
        """Do nothing, because nothing outside of this process is held; see `VectorIndex.close`."""

    @property
    def dimension(self) -> int:
        """See `VectorIndex.dimension`."""
        return self._storage.dimension

    @property
    def index_type(self) -> IndexType:
        """See `VectorIndex.index_type`."""
        return "exact"

    def __len__(self) -> int:
        return len(self._storage)

    def search(self, vectors: Float32Array, k: int, allowed: BoolMask | None = None) -> Hits:
        """Find the ``k`` allowed vectors nearest to each query; see `VectorIndex.search`."""
        check_search(self.dimension, vectors, k)
        with self._lock.read():
            labels, scores = nearest(self._storage.table, vectors, k, self._storage.select(allowed).mask)
        return Hits(labels, scores, "exact")

    def add(self, labels: RowIndices, vectors: Float32Array) -> None:
        """Add or replace vectors; see `VectorIndex.add`."""
        check_search(self.dimension, vectors, k=1)
        if not len(labels):
            return
        with self._lock.write():
            self._storage.put(labels, vectors)

    def remove(self, labels: RowIndices) -> None:
        """Remove vectors; see `VectorIndex.remove`."""
        with self._lock.write():
            self._storage.remove(labels)

"""Exact search: the oracle of every other index, and the way out where a filter leaves few vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.cache import IdentityCache
from common.release.layout import VECTORS
from services.retrieval.ann.ann_index import IndexType
from services.retrieval.index.concatenated_vectors import Table
from services.retrieval.index.read_write_lock import ReadWriteLock
from services.retrieval.index.scoring import nearest, take_along_rows, top_k
from services.retrieval.index.vector_index import Hits, check_search
from services.retrieval.index.vector_storage import Passing

REMOVED = "index/removed.npy"
# Masks that are remembered with what passes them: most searches at a time share one.
_MASKS = 4


class FlatIndex:
    """Compares a query with every allowed vector; implements `VectorIndex`.

    Args:
        vectors: Unit vectors, the label of each being its row; may be memory-mapped, is copied at the first change.
        removed: Labels whose vectors can't be found.
    """

    def __init__(self, vectors: Table, removed: RowIndices | None = None) -> None:
        self._lock = ReadWriteLock()
        self._vectors = vectors
        self._owned = False
        self._present = np.ones(len(vectors), dtype=np.bool_)
        if removed is not None:
            self._present[removed] = False
        self._end = len(vectors)  # behind it rows are reserved, and were never anybody's
        self._counted()

    @classmethod
    def load(cls, folder: Path) -> FlatIndex:
        """Map the vectors of the release in ``folder``."""
        removed = np.load(folder / REMOVED) if (folder / REMOVED).exists() else None
        return cls(np.asarray(np.load(folder / VECTORS, mmap_mode="r")), removed)

    def save(self, folder: Path) -> None:
        """Write the vectors, and which of them were removed where any were."""
        with self._lock.read():
            (folder / VECTORS).parent.mkdir(parents=True, exist_ok=True)
            np.save(folder / VECTORS, np.asarray(self._vectors)[: self._end])
            if self._count < self._end:
                np.save(folder / REMOVED, np.flatnonzero(~self._present[: self._end]))

    def table(self) -> tuple[Float32Array, RowIndices]:
        """Return every vector, those that can't be found too, shape [rows, dimension], and the labels of these."""
        with self._lock.read():
            return np.asarray(self._vectors), np.flatnonzero(~self._present)

    def close(self, *, discard: bool = False) -> None:
        """Nothing is held outside of this process; see `VectorIndex.close`."""

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return int(self._vectors.shape[1])

    @property
    def index_type(self) -> IndexType:
        """See `VectorIndex.index_type`."""
        return "exact"

    @property
    def rows(self) -> int:
        """How many rows the table has, those of removed and of reserved labels included."""
        return len(self._present)

    def __len__(self) -> int:
        return self._count

    def passing(self, allowed: BoolMask | None) -> Passing:
        """Return which labels can be found; remembers the last few masks, which searches give again and again."""
        return self._everything if allowed is None else self._passing.get_or_make(allowed, self._among)

    def contains(self, labels: RowIndices) -> BoolMask:
        """Return which labels can be found; shape [labels]."""
        known = labels < self.rows
        return known & self._present[np.where(known, labels, 0)] if self.rows else known

    def read(self, labels: RowIndices) -> Float32Array:
        """Return the vectors of labels of the table; shape [labels, dimension]."""
        vectors: Float32Array = self._vectors[labels]
        return vectors

    def search(self, vectors: Float32Array, k: int, allowed: BoolMask | None = None) -> Hits:
        """Find the ``k`` allowed vectors most like each query; see `VectorIndex.search`."""
        check_search(self.dimension, vectors, k)
        with self._lock.read():
            labels, scores = nearest(self._vectors, vectors, k, self.passing(allowed).mask)
        return Hits(labels, scores, "exact")

    def rescored(self, vectors: Float32Array, labels: RowIndices, k: int) -> tuple[RowIndices, Float32Array]:
        """Return the best ``k`` of what was found for queries, with their inner products, best first.

        Args:
            vectors: The queries; shape [n, dimension].
            labels: What was found for each, -1 for nothing; shape [n, found].
            k: How many at most.
        """
        from services.retrieval.index.faiss_products import gathered_products  # noqa: PLC0415 - faiss: 15 MB that few need

        scores = gathered_products(self._vectors, vectors, labels)
        best = top_k(scores, k)
        return take_along_rows(labels, best), take_along_rows(scores, best)

    def add(self, labels: RowIndices, vectors: Float32Array) -> None:
        """Add or replace vectors; see `VectorIndex.add`."""
        check_search(self.dimension, vectors, k=1)
        if not len(labels):
            return
        with self._lock.write():
            self._end = max(self._end, int(labels.max()) + 1)
            self._reserved(self._end)[labels] = vectors
            self._present[labels] = True
            self._counted()

    def remove(self, labels: RowIndices) -> None:
        """Remove vectors; see `VectorIndex.remove`."""
        with self._lock.write():
            self._present[labels[self.contains(labels)]] = False
            self._counted()

    def _counted(self) -> None:
        """Count what is there, and forget which of it passed any mask."""
        self._count = int(np.count_nonzero(self._present))
        self._everything = Passing(None if self._count == self.rows else self._present.copy(), self._count)
        self._passing: IdentityCache[BoolMask, Passing] = IdentityCache(_MASKS)

    def _among(self, allowed: BoolMask) -> Passing:
        mask = np.zeros(self.rows, dtype=np.bool_)
        known = min(self.rows, len(allowed))
        np.logical_and(self._present[:known], allowed[:known], out=mask[:known])
        count = int(np.count_nonzero(mask))
        return Passing(mask, count) if count < self.rows else Passing(None, count)

    def _reserved(self, rows: int) -> Float32Array:
        """Return the table, our own and at least ``rows`` long; grows by half at least, so that adding is linear."""
        further = max(rows - self.rows, self.rows // 2) if rows > self.rows else 0
        if further or not self._owned:
            nothing = np.zeros((further, self.dimension), dtype=np.float32)
            self._vectors = np.concatenate([self._vectors, nothing])
            self._present = np.concatenate([self._present, np.zeros(further, dtype=np.bool_)])
            self._owned = True
        return np.asarray(self._vectors)

"""HNSW or PQ over a table of vectors, with exact search if that is cheaper or if too little was found.

::

    search(queries, k, allowed)
        │ few allowed ───────────────────────────────▶ storage: compare every allowed vector
        ▼
    AnnIndex (HNSW or PQ): more candidates than k, since a filter drops some
        │ fewer than k left ─────────────────────────▶ storage: compare every allowed vector
        ▼
    storage: exact scores of the candidates (PQ), vectors that the graph lost (HNSW)
        ▼
    best k

What hnswlib and faiss leave to their users is done here: a lock, because an index must not be searched while it is
changed; oversampling and a mask, because a filter function would be called back into Python for each vector.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Final

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.errors import BadRelease
from common.release.layout import VECTORS
from services.retrieval.ann.ann_index import AnnIndex, IndexOptions, IndexType
from services.retrieval.ann.factory import load_ann_index, new_ann_index
from services.retrieval.index.candidate_search import CandidateSearch, HybridIndexOptions
from services.retrieval.index.concatenated_vectors import Table
from services.retrieval.index.reachability import AuditState, ReachabilityAudit
from services.retrieval.index.read_write_lock import ReadWriteLock
from services.retrieval.index.scoring import nearest
from services.retrieval.index.vector_index import Hits, check_search
from services.retrieval.index.vector_storage import VectorStorage

_DEFAULTS: Final = HybridIndexOptions()


class HybridIndex:
    """Implements `VectorIndex`. Make it with `build` or `load`.

    Args:
        ann: Over the live vectors.
        storage: All vectors.
        ef_search: Length of the candidate list while searching.
        options: When candidates are used, and how many.
        audit_state: How far the audit is; None to begin it.
    """

    def __init__(
        self,
        ann: AnnIndex,
        storage: VectorStorage,
        ef_search: int,
        options: HybridIndexOptions = _DEFAULTS,
        audit_state: AuditState | None = None,
    ) -> None:
        self._lock = ReadWriteLock()
        self._ann = ann
        self._storage = storage
        self._options = options
        self._candidates = CandidateSearch(ann, storage, options)
        self._audit = ReachabilityAudit(ann, storage, audit_state)
        self._ann_was_taken = False
        self.ef_search = ef_search

    @classmethod
    def build(
        cls, vectors: Float32Array, options: IndexOptions | None = None, hybrid: HybridIndexOptions = _DEFAULTS
    ) -> HybridIndex:
        """Build the index over unit vectors, the label of each being its row; shape [n, dimension]."""
        options = options or IndexOptions()
        ann = new_ann_index(vectors, options)
        ann.add(np.arange(len(vectors)), vectors, options.threads)
        return cls(ann, VectorStorage(vectors), options.ef_search, hybrid)

    @classmethod
    def load(cls, folder: Path, ef_search: int = IndexOptions.ef_search) -> HybridIndex:
        """Load the index of the release in ``folder`` and map its vectors.

        Raises:
            BadRelease: A file can't be read, or the files contradict one another.
        """
        storage = VectorStorage.load(folder)
        ann = load_ann_index(folder, storage.dimension)
        if not len(storage) <= len(ann) <= storage.row_count:
            raise BadRelease(f"{ann.file_name} and {VECTORS} differ in size; build the release again")
        return cls(ann, storage, ef_search)

    @property
    def ef_search(self) -> int:
        """Length of the candidate list while searching; may be changed at any time."""
        return self._ef_search

    @ef_search.setter
    def ef_search(self, ef_search: int) -> None:
        self._ef_search = ef_search
        with self._lock.read():  # not while vectors are added or removed
            self._ann.set_ef_search(ef_search)

    def extended(self, vectors: Table, is_live: BoolMask) -> HybridIndex:
        """Return an index of ``vectors``, whose first rows are those of this index, with the later ones inserted.

        Waits for searches under way. The new index takes over this one's HNSW or PQ, so this one answers by exact
        search from then on.

        Args:
            vectors: Shape [rows, dimension].
            is_live: Which of them can be found; shape [rows].
        """
        rows = self._storage.row_count
        with self._lock.write():
            self._ann_was_taken = True
            labels = rows + np.flatnonzero(is_live[rows:])
            self._ann.add(labels, vectors[labels])
        storage = VectorStorage(vectors, np.flatnonzero(~is_live))
        extended = HybridIndex(self._ann, storage, self._ef_search, self._options, self._audit.state)
        extended._audit.extend(len(labels))
        return extended

    def rebuild(self, labels: RowIndices, vectors: Float32Array) -> IndexRebuild:
        """Begin to build a fresh index, with the same options, of ``labels`` alone, which are rows of ``vectors``."""
        removed = np.setdiff1d(np.arange(len(vectors)), labels)
        ann = self._ann.new_empty(len(labels))
        rebuilt = HybridIndex(ann, VectorStorage(vectors, removed), self._ef_search, self._options)
        return IndexRebuild(rebuilt, ann, labels, vectors, self._options.rebuild_rows)

    def copied(self) -> HybridIndex:
        """Return an index over the same vectors, to be `extended`. For PQ, since copies of a graph share its links."""
        with self._lock.read():
            return HybridIndex(copy.copy(self._ann), self._storage, self._ef_search, self._options)

    def table_and_removed(self) -> tuple[Float32Array, RowIndices]:
        """Return every vector, shape [rows, dimension], and the labels of those that can't be found."""
        with self._lock.read():
            return np.asarray(self._storage.table), self._storage.removed_labels

    def save(self, folder: Path) -> None:
        """Write index and vectors into a release's folder."""
        with self._lock.read():
            self._storage.save(folder)
            self._ann.save(folder)

    def close(self, *, discard: bool = False) -> None:
        """Do nothing, because nothing outside of this process is held; see `VectorIndex.close`."""

    @property
    def dimension(self) -> int:
        """See `VectorIndex.dimension`."""
        return self._storage.dimension

    @property
    def index_type(self) -> IndexType:
        """See `VectorIndex.index_type`."""
        return self._ann.kind

    @property
    def is_graph(self) -> bool:
        """Whether vectors are reached by links; see `AnnIndex.is_graph`."""
        return self._ann.is_graph

    @property
    def file_name(self) -> str:
        """The release's file that holds HNSW or PQ."""
        return self._ann.file_name

    @property
    def row_count(self) -> int:
        """Rows of the table, those of vectors that can't be found included."""
        return self._storage.row_count

    def __len__(self) -> int:
        return len(self._storage)

    def search(self, vectors: Float32Array, k: int, allowed: BoolMask | None = None) -> Hits:
        """Find the ``k`` allowed vectors nearest to each query; see `VectorIndex.search`."""
        check_search(self.dimension, vectors, k)
        with self._lock.read():
            selection = self._storage.select(allowed)
            hits = None if self._ann_was_taken else self._candidates.search(vectors, k, selection, self._ef_search)
            if hits is None:
                return Hits(*nearest(self._storage.table, vectors, k, selection.mask), "exact")
            return self._audit.add_unreachable(hits, vectors, selection.mask)

    def add(self, labels: RowIndices, vectors: Float32Array) -> None:
        """Add or replace vectors; see `VectorIndex.add`."""
        check_search(self.dimension, vectors, k=1)
        if not len(labels):
            return
        with self._lock.write():
            self._ann.add(labels, vectors)
            self._storage.put(labels, vectors)
            self._audit.extend(len(labels))

    def remove(self, labels: RowIndices) -> None:
        """Remove vectors; see `VectorIndex.remove`."""
        with self._lock.write():
            self._ann.remove(np.unique(labels[self._storage.is_live(labels)]))
            self._storage.remove(labels)

    @property
    def unreachable(self) -> int:
        """How many vectors the audit did not find; each search compares them one by one."""
        return self._audit.unreachable

    @property
    def audit_pending(self) -> int:
        """How many vectors are still to be audited."""
        return self._audit.pending

    def audit(self, count: int) -> RowIndices:
        """Search for the next ``count`` vectors by themselves; returns the labels of those that were not found.

        Each vector is audited once, and as many again as are added later. For one thread at a time.
        """
        with self._lock.read():
            if self._ann_was_taken:  # the extended index is audited instead
                return np.empty(0, dtype=np.int64)
            return self._audit.run(count, self._ef_search)


class IndexRebuild:
    """A fresh index that is built in steps: no other Python thread runs while hnswlib or faiss is called to insert.

    Args:
        index: What is built, with the storage of all vectors.
        ann: Its HNSW or PQ, empty.
        labels: Labels to insert; shape [n].
        vectors: The vectors by label; shape [rows, dimension].
        step_rows: Vectors that a step inserts.
    """

    def __init__(
        self, index: HybridIndex, ann: AnnIndex, labels: RowIndices, vectors: Float32Array, step_rows: int
    ) -> None:
        self._index = index
        self._ann = ann
        self._labels = labels
        self._vectors = vectors
        self._step_rows = step_rows
        self._done = 0

    def advance(self) -> HybridIndex | None:
        """Insert the next vectors; returns the index once it is complete, None before."""
        step = self._labels[self._done : self._done + self._step_rows]
        self._ann.add(step, self._vectors[step])
        self._done += len(step)
        return self._index if self._done == len(self._labels) else None

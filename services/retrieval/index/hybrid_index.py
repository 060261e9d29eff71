"""Approximate search by a graph or by codes, with exact search wherever that is cheaper or that falls short.

What the libraries leave to their users and is dealt with here: searching while inserting is unsafe (a lock), a search
may find fewer than k (exact search answers), a filter function would be called back into Python for each item
(oversampling and a mask instead), rounded vectors have rounded products (what is found is compared by the table's), and
vectors that no link leads to are never found (an audit, after which they are compared one by one).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.cache import IdentityCache
from common.errors import BadRelease
from common.release.layout import VECTORS
from services.retrieval.ann.ann_index import AnnIndex, IndexOptions, IndexType
from services.retrieval.ann.factory import load_ann_index, new_ann_index
from services.retrieval.ann.oversampling import first_passing
from services.retrieval.index.concatenated_vectors import Table
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.index.reachability import AuditState, not_found, with_lost
from services.retrieval.index.read_write_lock import ReadWriteLock
from services.retrieval.index.vector_index import Hits, check_search
from services.retrieval.index.vector_storage import Passing

# Filtered searches ask for so much more than the filter's share calls for, since allowed items come in clusters.
_OVERSAMPLING = 1.5
# Of codes so many times as many are asked for where too few passed; past the inverse of all, those are compared.
_DEEPER = 4
# Their order is that much rougher where what passes lies among much that does not.
_DOUBT = 1.25
_BUILD_ROWS = 1_000


class HybridIndex:
    """A graph or codes beside the table of vectors; implements `VectorIndex`. Make it with `build` or `load`.

    Args:
        graph: Over the vectors that are there.
        exact: The table.
        ef_search: Length of the candidate list while searching.
    """

    def __init__(self, graph: AnnIndex, exact: FlatIndex, ef_search: int) -> None:
        self._lock = ReadWriteLock()
        self._graph = graph
        self._exact = exact
        self._moved = False
        self._reach = AuditState(due=exact.rows if graph.is_graph else 0)
        self._lost: IdentityCache[RowIndices, Float32Array] = IdentityCache(1)
        self.ef_search = ef_search

    @classmethod
    def build(cls, vectors: Float32Array, options: IndexOptions | None = None) -> HybridIndex:
        """Build the graph of unit vectors, the label of each being its row; shape [n, dimension]."""
        options = options or IndexOptions()
        graph = new_ann_index(vectors, options)
        graph.add(np.arange(len(vectors)), vectors, options.threads)
        return cls(graph, FlatIndex(vectors), options.ef_search)

    @classmethod
    def load(cls, folder: Path, ef_search: int = IndexOptions.ef_search) -> HybridIndex:
        """Load the graph of the release in ``folder`` and map its vectors.

        Raises:
            BadRelease: A file can't be read, or they don't fit together.
        """
        exact = FlatIndex.load(folder)
        graph = load_ann_index(folder, exact.dimension)
        if not len(exact) <= len(graph) <= exact.rows:
            raise BadRelease(f"{graph.file_name} and {VECTORS} differ in size; build the release again")
        return cls(graph, exact, ef_search)

    @property
    def ef_search(self) -> int:
        """Length of the candidate list while searching; may be changed at any time."""
        return self._ef_search

    @ef_search.setter
    def ef_search(self, ef_search: int) -> None:
        self._ef_search = ef_search
        with self._lock.read():  # not while vectors are added or removed
            self._graph.set_ef_search(ef_search)

    def grown(self, vectors: Table, there: BoolMask) -> HybridIndex:
        """Return an index of ``vectors`` whose first rows are this one's, with this one's graph grown by the others.

        Waits for searches under way; from then on this index, whose graph has moved, answers by exact search.

        Args:
            vectors: Shape [rows, dimension].
            there: Which of them are in the index; shape [rows].
        """
        with self._lock.write():
            self._moved = True
            labels = self.rows + np.flatnonzero(there[self.rows :])
            self._graph.add(labels, vectors[labels])
        grown = HybridIndex(self._graph, FlatIndex(vectors, np.flatnonzero(~there)), self._ef_search)
        grown._reach = self._grown_reach(grown.rows, len(labels))
        return grown

    def without_removed(
        self, labels: RowIndices, vectors: Float32Array, between: Callable[[], object] = lambda: None
    ) -> HybridIndex:
        """Build a fresh graph of ``labels`` alone, built as this one was; their vectors are rows of ``vectors``.

        In parts, since the libraries give nobody else a turn inside of one call; ``between`` them is called.
        """
        graph = self._graph.new_empty(len(labels))
        for start in range(0, len(labels), _BUILD_ROWS):
            part = labels[start : start + _BUILD_ROWS]
            graph.add(part, vectors[part])
            between()
        removed = np.setdiff1d(np.arange(len(vectors)), labels)
        return HybridIndex(graph, FlatIndex(vectors, removed), self._ef_search)

    def copied(self) -> HybridIndex:
        """Return an index of the same vectors, to be `grown`; of codes alone, since links would be shared."""
        with self._lock.read():
            return HybridIndex(copy.copy(self._graph), self._exact, self._ef_search)

    def table(self) -> tuple[Float32Array, RowIndices]:
        """Return every vector, and the labels of those that can't be found; see `FlatIndex.table`."""
        return self._exact.table()

    def save(self, folder: Path) -> None:
        """Write graph and vectors into a release's folder."""
        with self._lock.read():
            self._exact.save(folder)
            self._graph.save(folder)

    def close(self, *, discard: bool = False) -> None:
        """Nothing is held outside of this process; see `VectorIndex.close`."""

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return self._exact.dimension

    @property
    def index_type(self) -> IndexType:
        """See `VectorIndex.index_type`."""
        return self._graph.kind

    @property
    def is_graph(self) -> bool:
        """Whether links lead to its vectors, as in a graph; codes are all looked at."""
        return self._graph.is_graph

    @property
    def file_name(self) -> str:
        """The file of a release that holds its graph."""
        return self._graph.file_name

    @property
    def rows(self) -> int:
        """How many rows its table of vectors has, those that are not in the index included."""
        return self._exact.rows

    def __len__(self) -> int:
        return len(self._exact)

    def search(self, vectors: Float32Array, k: int, allowed: BoolMask | None = None) -> Hits:
        """Find the ``k`` allowed vectors most like each query; see `VectorIndex.search`."""
        check_search(self.dimension, vectors, k)
        with self._lock.read():
            passing = self._exact.passing(allowed)
            entries = max(self._ef_search, self._entries(k, passing.count))
            exact = self._moved or passing.count <= self._graph.rows_per_candidate * entries
            hits = None if exact else self._walk(vectors, k, passing)
            if hits is None:
                return self._exact.search(vectors, k, allowed)
            return self._join_lost(hits, vectors, passing.mask)

    def add(self, labels: RowIndices, vectors: Float32Array) -> None:
        """Add or replace vectors; see `VectorIndex.add`."""
        check_search(self.dimension, vectors, k=1)
        if not len(labels):
            return
        with self._lock.write():
            self._graph.add(labels, vectors)
            self._exact.add(labels, vectors)
            self._lost = IdentityCache(1)  # it may hold vectors that were replaced
            self._reach = self._grown_reach(self.rows, len(labels))

    def remove(self, labels: RowIndices) -> None:
        """Remove vectors; see `VectorIndex.remove`. The graph keeps them as marked, to walk through."""
        with self._lock.write():
            self._graph.remove(np.unique(labels[self._exact.contains(labels)]))
            self._exact.remove(labels)

    @property
    def unreachable(self) -> int:
        """How many vectors the audit found that the graph does not lead to; searches compare these one by one."""
        return len(self._reach.lost)

    @property
    def audit_due(self) -> int:
        """How many vectors are yet to be audited."""
        return self._reach.due + self._reach.fresh

    def audit(self, count: int) -> RowIndices:
        """Search for the next ``count`` vectors by themselves, and from now on compare exactly those not found.

        Every vector is due once, and as many again as come later; for one thread at a time.

        Returns:
            The labels of those that were not found.
        """
        with self._lock.read():
            rows = self._reach.next(count, self.rows)
            labels = rows[self._exact.contains(rows)]
            lost = labels[:0] if self._moved or not len(labels) else self._not_found(labels)
            self._reach = self._reach.after(rows, lost, self.rows)
        return lost

    def _grown_reach(self, rows: int, by: int) -> AuditState:
        """Return what is to be audited once ``by`` rows came; nothing where there are no links."""
        return self._reach.grown(rows, by) if self._graph.is_graph else self._reach

    def _not_found(self, labels: RowIndices) -> RowIndices:
        vectors = self._exact.read(labels)
        own = np.einsum("ij,ij->i", vectors, vectors)
        for k in (min(self._ef_search, len(self)), 1):  # as many as are looked at anyway, or else the nearest
            found = self._graph.search(vectors, k)
            if found is not None:  # or fewer than asked for can be reached
                return not_found(labels, own, *self._scored(vectors, *found, k))
        return labels

    def _entries(self, k: int, count: int) -> int:
        """Return how many neighbours to ask the graph for so that enough of them can be expected to pass."""
        if count == len(self):
            return min(self._graph.candidates_needed(k), count)
        # Of those that pass, as many as a search without a filter looks at.
        wanted = max(_OVERSAMPLING * k, self._ef_search, self._graph.candidates_needed(k))
        return min(len(self), math.ceil(wanted * len(self) / max(1, count)))

    def _walk(self, vectors: Float32Array, k: int, passing: Passing) -> Hits | None:
        """Search the graph; None where it does not yield enough."""
        entries = self._entries(k, passing.count)
        found = self._graph.search(vectors, entries)
        if found is not None and passing.mask is not None and passing.count < len(self):
            least = min(k, passing.count)
            if not self._graph.is_graph:
                found = self._deep_enough(vectors, least, passing.mask, found)
            if found is not None:
                most = self._graph.candidates_needed(k) if self._graph.is_graph else found[0].shape[1]
                found = first_passing(*found, passing.mask[found[0]], least, most)
        if found is None:
            return None
        labels, scores = self._scored(vectors, *found, k)
        return Hits(labels[:, :k], scores[:, :k], "approximate")

    def _deep_enough(
        self, vectors: Float32Array, least: int, passes: BoolMask, found: tuple[RowIndices, Float32Array | None] | None
    ) -> tuple[RowIndices, Float32Array | None] | None:
        """Return what codes find, asked again while ``least`` that pass lie so deep that their order is a rough guess.

        Where all of the nearest were excluded, as many must be asked for as if these were wanted too. None where
        comparing all takes less time.
        """
        while found is not None:
            entries = found[0].shape[1]
            deepest = int((passes[found[0]].cumsum(axis=1) < least).sum(axis=1).max()) + 1
            deep_enough = deepest <= entries
            needed = self._graph.candidates_needed(math.ceil(_DOUBT * deepest)) if deep_enough else _DEEPER * entries
            if needed <= entries:
                return found
            found = self._graph.search(vectors, needed) if _DEEPER * needed <= len(self) else None
        return None

    def _scored(
        self, vectors: Float32Array, labels: RowIndices, scores: Float32Array | None, k: int
    ) -> tuple[RowIndices, Float32Array]:
        """Return what was found with its inner products; the best ``k`` by the table's where the graph has no such."""
        return (labels, scores) if scores is not None else self._exact.rescored(vectors, labels, k)

    def _join_lost(self, hits: Hits, vectors: Float32Array, passing: BoolMask | None) -> Hits:
        lost = self._reach.lost
        if not len(lost):
            return hits
        table = self._lost.get_or_make(lost, self._exact.read)
        if passing is not None:
            there = passing[lost]
            lost, table = lost[there], table[there]
        return with_lost(hits, lost, vectors @ table.T)

"""Approximate search over hnswlib's graph, with exact search wherever that is cheaper or the graph falls short.

What hnswlib 0.8 leaves to its users and is dealt with here: searching while inserting is unsafe (a lock), a search
that finds fewer than k raises (exact search answers), a filter function is called back into Python for each item
(oversampling and a mask instead), and vectors that no link leads to are never found (an audit, after which they are
compared one by one). It releases the GIL while it searches.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import hnswlib
import numpy as np

from common.layout import INDEX
from services.retrieval.exact_index import ExactIndex
from services.retrieval.reachability import Reach, not_found, with_lost
from services.retrieval.read_write_lock import ReadWriteLock
from services.retrieval.vector_index import Floats, Hits, Mask, Rows, check_search

# What one entry of hnswlib's candidate list costs in rows compared exactly: about 1.5 µs against 0.15 µs at 384
# dimensions and M = 16. A filter that leaves few rows is therefore answered exactly.
_ROWS_PER_ENTRY = 10
# Filtered searches ask for so much more than the filter's share calls for, since allowed items come in clusters.
_OVERSAMPLING = 1.5
_BUILD_ROWS = 1_000


@dataclass(frozen=True)
class HnswOptions:
    """How the graph is built and searched (Malkov and Yashunin, https://arxiv.org/abs/1603.09320).

    Attributes:
        m: Links of a vector on each layer above the lowest, which has twice as many.
        ef_construction: Length of the candidate list while building.
        ef_search: Length of the candidate list while searching; recall against time.
        threads: Threads that build, 0 for every core; more than one makes the graph differ from run to run.
        seed: Of the draw of layers.
    """

    m: int = 16
    ef_construction: int = 200
    ef_search: int = 300
    threads: int = 0
    seed: int = 1


class HnswIndex:
    """hnswlib's graph beside the table of vectors; implements `VectorIndex`. Make it with `build` or `load`."""

    def __init__(self, graph: hnswlib.Index, exact: ExactIndex, ef_search: int) -> None:
        self._lock = ReadWriteLock()
        self._graph = graph
        self._exact = exact
        self._moved = False
        self._reach = Reach(due=exact.rows)
        self.ef_search = ef_search

    @classmethod
    def build(cls, vectors: Floats, options: HnswOptions | None = None) -> HnswIndex:
        """Build the graph of unit vectors, the label of each being its row; shape [n, dimension]."""
        options = options or HnswOptions()
        graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
        graph.init_index(max(1, len(vectors)), options.m, options.ef_construction, random_seed=options.seed)
        if len(vectors):
            graph.add_items(vectors, np.arange(len(vectors)), num_threads=options.threads or -1)
        return cls(graph, ExactIndex(vectors), options.ef_search)

    @classmethod
    def load(cls, folder: Path, ef_search: int = HnswOptions.ef_search) -> HnswIndex:
        """Load the graph of the release in ``folder`` and map its vectors."""
        exact = ExactIndex.load(folder)
        graph = hnswlib.Index(space="ip", dim=exact.dimension)
        graph.load_index(str(folder / INDEX))
        return cls(graph, exact, ef_search)

    @property
    def ef_search(self) -> int:
        """Length of the candidate list while searching; may be changed at any time."""
        return self._ef_search

    @ef_search.setter
    def ef_search(self, ef_search: int) -> None:
        self._ef_search = ef_search
        self._graph.set_ef(ef_search)  # upstream raises it to k for searches that ask for more

    def grown(self, vectors: Floats, there: Mask) -> HnswIndex:
        """Return an index of ``vectors`` whose first rows are this one's, with this one's graph grown by the others.

        Waits for searches under way; from then on this index, whose graph has moved, answers by exact search.

        Args:
            vectors: Shape [rows, dimension].
            there: Which of them are in the index; shape [rows].
        """
        with self._lock.write():
            self._moved = True
            labels = self.rows + np.flatnonzero(there[self.rows :])
            self._reserve(len(labels))
            if len(labels):
                self._graph.add_items(vectors[labels], labels, num_threads=1)
        grown = HnswIndex(self._graph, ExactIndex(vectors, np.flatnonzero(~there)), self._ef_search)
        grown._reach = self._reach.grown(grown.rows, len(labels))
        return grown

    def without_removed(self, labels: Rows, vectors: Floats) -> HnswIndex:
        """Build a fresh graph of ``labels`` alone, built as this one was; their vectors are rows of ``vectors``.

        In parts, since hnswlib gives nobody else a turn inside of one call.
        """
        graph = hnswlib.Index(space="ip", dim=self.dimension)
        graph.init_index(max(1, len(labels)), self._graph.M, self._graph.ef_construction)
        for start in range(0, len(labels), _BUILD_ROWS):
            part = labels[start : start + _BUILD_ROWS]
            graph.add_items(vectors[part], part, num_threads=1)
        removed = np.setdiff1d(np.arange(len(vectors)), labels)
        return HnswIndex(graph, ExactIndex(vectors, removed), self._ef_search)

    def save(self, folder: Path) -> None:
        """Write graph and vectors into a release's folder."""
        with self._lock.read():
            self._exact.save(folder)
            self._graph.save_index(str(folder / INDEX))

    def close(self, *, discard: bool = False) -> None:
        """Nothing is held outside of this process; see `VectorIndex.close`."""

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return self._exact.dimension

    @property
    def rows(self) -> int:
        """How many rows its table of vectors has, those that are not in the index included."""
        return self._exact.rows

    def __len__(self) -> int:
        return len(self._exact)

    def search(self, vectors: Floats, k: int, allowed: Mask | None = None) -> Hits:
        """Find the ``k`` allowed vectors most like each query; see `VectorIndex.search`."""
        check_search(self.dimension, vectors, k)
        with self._lock.read():
            passing = self._exact.passing(allowed)
            count = len(self) if passing is None else int(np.count_nonzero(passing))
            entries = max(self._ef_search, self._entries(k, count))
            exact = self._moved or count <= _ROWS_PER_ENTRY * entries
            hits = None if exact else self._walk(vectors, k, passing, count)
            return self._exact.search(vectors, k, allowed) if hits is None else self._join_lost(hits, vectors, passing)

    def add(self, labels: Rows, vectors: Floats) -> None:
        """Add or replace vectors; see `VectorIndex.add`."""
        check_search(self.dimension, vectors, k=1)
        if not len(labels):
            return
        with self._lock.write():
            self._reserve(len(np.setdiff1d(labels, self._graph.get_ids_list())))
            self._graph.add_items(vectors, labels, num_threads=1)
            self._exact.add(labels, vectors)
            self._reach = self._reach.grown(self.rows, len(labels))

    def remove(self, labels: Rows) -> None:
        """Remove vectors; see `VectorIndex.remove`. The graph keeps them as marked, to walk through."""
        with self._lock.write():
            for label in np.unique(labels[self._exact.contains(labels)]):
                self._graph.mark_deleted(int(label))
            self._exact.remove(labels)

    @property
    def unreachable(self) -> int:
        """How many vectors the audit found that the graph does not lead to; searches compare these one by one."""
        return len(self._reach.lost)

    @property
    def audit_due(self) -> int:
        """How many vectors are yet to be audited."""
        return self._reach.due + self._reach.fresh

    def audit(self, count: int) -> Rows:
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

    def _not_found(self, labels: Rows) -> Rows:
        vectors = self._exact.read(labels)
        own = np.einsum("ij,ij->i", vectors, vectors)
        for k in (min(self._ef_search, len(self)), 1):  # as many as are looked at anyway, or else the nearest
            with suppress(RuntimeError):  # fewer than asked for can be reached
                found, distances = self._graph.knn_query(vectors, k=k, num_threads=1)
                return not_found(labels, own, found.astype(np.int64), 1 - distances)
        return labels

    def _entries(self, k: int, count: int) -> int:
        """Return how many neighbours to ask the graph for so that ``k`` of them can be expected to pass."""
        if count == len(self):
            return min(k, count)
        wanted = max(_OVERSAMPLING * k, self._ef_search)  # of those that pass, as a search without a filter looks at
        return min(len(self), math.ceil(wanted * len(self) / max(1, count)))

    def _walk(self, vectors: Floats, k: int, passing: Mask | None, count: int) -> Hits | None:
        """Search the graph; None where it does not yield enough."""
        try:
            labels, distances = self._graph.knn_query(vectors, k=self._entries(k, count), num_threads=1)
        except RuntimeError:  # fewer than asked for can be reached
            return None
        labels, scores = labels.astype(np.int64), 1 - distances
        if passing is None or count == len(self):
            return Hits(labels, scores, "approximate")
        return _keep(labels, scores, passing[labels], min(k, count))

    def _join_lost(self, hits: Hits, vectors: Floats, passing: Mask | None) -> Hits:
        lost = self._reach.lost
        if len(lost) and passing is not None:
            lost = lost[passing[lost]]
        return with_lost(hits, lost, vectors @ self._exact.read(lost).T) if len(lost) else hits

    def _reserve(self, further: int) -> None:
        needed = self._graph.get_current_count() + further
        if needed > self._graph.get_max_elements():
            self._graph.resize_index(max(needed, self._graph.get_max_elements() * 3 // 2))


def _keep(labels: Rows, scores: Floats, passes: Mask, k: int) -> Hits | None:
    """Keep the first ``k`` of each row that pass; None where a row has fewer."""
    if (passes.sum(axis=1) < k).any():
        return None
    first = np.argsort(~passes, axis=1, kind="stable")[:, :k]
    return Hits(np.take_along_axis(labels, first, axis=1), np.take_along_axis(scores, first, axis=1), "approximate")

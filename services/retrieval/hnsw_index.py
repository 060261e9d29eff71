"""Approximate search over hnswlib's graph, with exact search wherever that is cheaper or the graph falls short.

What hnswlib 0.8 leaves to its users and is dealt with here: searching while inserting is unsafe (a lock), a search
that finds fewer than k raises (exact search answers), a filter function is called back into Python for each item
(oversampling and a mask instead). It releases the GIL while it searches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import hnswlib
import numpy as np

from common.layout import INDEX
from services.retrieval.exact_index import ExactIndex
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
    ef_search: int = 250
    threads: int = 0
    seed: int = 1


class HnswIndex:
    """hnswlib's graph beside the table of vectors; implements `VectorIndex`. Make it with `build` or `load`."""

    def __init__(self, graph: hnswlib.Index, exact: ExactIndex, ef_search: int) -> None:
        self._lock = ReadWriteLock()
        self._graph = graph
        self._exact = exact
        self._moved = False
        self.ef_search = ef_search

    @classmethod
    def build(cls, vectors: Floats, options: HnswOptions | None = None) -> HnswIndex:
        """Build the graph of unit vectors, the label of each being its row; shape [n, dimension]."""
        options = options or HnswOptions()
        graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
        graph.init_index(max(1, len(vectors)), options.ef_construction, options.m, random_seed=options.seed)
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
        return HnswIndex(self._graph, ExactIndex(vectors, np.flatnonzero(~there)), self._ef_search)

    def without_removed(self, labels: Rows, vectors: Floats) -> HnswIndex:
        """Build a fresh graph of ``labels`` alone, built as this one was; their vectors are rows of ``vectors``.

        In parts, since hnswlib gives nobody else a turn inside of one call.
        """
        graph = hnswlib.Index(space="ip", dim=self.dimension)
        graph.init_index(max(1, len(labels)), self._graph.ef_construction, self._graph.M)
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
            return hits or self._exact.search(vectors, k, allowed)

    def add(self, labels: Rows, vectors: Floats) -> None:
        """Add or replace vectors; see `VectorIndex.add`."""
        check_search(self.dimension, vectors, k=1)
        if not len(labels):
            return
        with self._lock.write():
            self._reserve(len(np.setdiff1d(labels, self._graph.get_ids_list())))
            self._graph.add_items(vectors, labels, num_threads=1)
            self._exact.add(labels, vectors)

    def remove(self, labels: Rows) -> None:
        """Remove vectors; see `VectorIndex.remove`. The graph keeps them as marked, to walk through."""
        with self._lock.write():
            for label in np.unique(labels[self._exact.contains(labels)]):
                self._graph.mark_deleted(int(label))
            self._exact.remove(labels)

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

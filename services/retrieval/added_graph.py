"""The graph over added items: two copies, of which one is searched while the other grows."""

from __future__ import annotations

from typing import Final

import numpy as np

from services.retrieval.exact_index import ExactIndex, nearest
from services.retrieval.graph import HnswOptions
from services.retrieval.hnsw_index import HnswIndex
from services.retrieval.hnswlib_graph import HnswlibGraph
from services.retrieval.item_vectors import Found, best_of
from services.retrieval.vector_index import Floats, Mask

# Rows behind the graph's end are compared one by one, at 384 dimensions some 0.05 ms a thousand.
TAIL: Final = 1_000
_OPTIONS: Final = HnswOptions(ef_construction=100)
# What is found here joins what the release's graph finds, so that fewer of it are needed.
_EF_SHARE: Final = 0.5


class AddedGraph:
    """Finds added items among many thousands. A search never waits for what is being inserted.

    A graph must not be searched while it grows, so one copy is searched while the other takes what came since; then
    they change places (Ramalhete and Correia, "Left-Right", https://hal.science/hal-01207881). Costs two insertions
    and twice the memory for each item.

    Args:
        dimension: The encoder's.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._ef_search = round(HnswOptions.ef_search * _EF_SHARE)
        self._searched = self._empty()
        self._growing = self._empty()

    @property
    def rows(self) -> int:
        """How many rows the graph has gone through."""
        return self._searched.rows

    def set_ef_search(self, ef_search: int) -> None:
        """Follow the length of the candidate list of the release's graph."""
        self._ef_search = max(1, round(ef_search * _EF_SHARE))
        self._searched.ef_search = self._ef_search

    def is_behind(self, count: int) -> bool:
        """Tell whether so many of ``count`` rows are not in the graph that growing is due."""
        return count - self.rows >= TAIL

    def grow(self, vectors: Floats, own: Mask) -> None:
        """Take in the rows that came since; for one thread at a time.

        The caller's searches go on meanwhile, and see all of it or nothing.

        Args:
            vectors: Of which the graph has the beginning; shape [rows, dimension].
            own: Which of them can be found here; shape [rows].
        """
        grown = self._growing.grown(vectors, own)
        grown.ef_search = self._ef_search
        self._searched, self._growing = grown, self._searched

    @property
    def index(self) -> HnswIndex:
        """The copy that is searched now."""
        return self._searched

    def search(self, vectors: Floats, queries: Floats, k: int, passing: Mask) -> list[Found]:
        """Find the ``k`` rows most like each query.

        Args:
            vectors: The rows of the caller's state; shape [rows, dimension]. The graph may have more or fewer.
            queries: Unit vectors; shape [n, dimension].
            k: How many at most.
            passing: Which rows may be found, of those that are `own`; shape [rows].
        """
        index = self._searched
        covered = min(index.rows, len(vectors))
        rows, scores = nearest(vectors[covered:], queries, k, passing[covered:])
        tail = [Found(covered + row, score) for row, score in zip(rows, scores, strict=True)]
        if not passing[:covered].any():
            return tail
        hits = index.search(queries, k, passing[:covered])
        graph = (Found(row, score) for row, score in zip(hits.labels, hits.scores, strict=True))
        return [best_of([old, new], k) for old, new in zip(graph, tail, strict=True)]

    def _empty(self) -> HnswIndex:
        graph = HnswlibGraph.empty(self._dimension, TAIL, _OPTIONS)
        return HnswIndex(graph, ExactIndex(np.empty((0, self._dimension), dtype=np.float32)), self._ef_search)

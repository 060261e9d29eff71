"""The graph over added items: two copies, of which one is searched while the other grows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from services.retrieval.approximate_index import ApproximateIndex
from services.retrieval.exact_index import ExactIndex, nearest_of
from services.retrieval.graph import Graph, HnswOptions
from services.retrieval.hnswlib_graph import HnswlibGraph
from services.retrieval.identity_cache import IdentityCache
from services.retrieval.vector_index import Floats, Mask, Rows

# Rows behind the graph's end are compared one by one, at 384 dimensions some 0.05 ms a thousand. Inserting a row among
# links takes half a millisecond and is better done for many; a code takes microseconds.
TAIL: Final = 1_000
TAIL_OF_CODES: Final = 100
_OPTIONS: Final = HnswOptions(ef_construction=100)
# Masks that are remembered with how they fall apart: most searches at a time share one.
_MASKS: Final = 4
# What is found here joins what the release's graph finds, so that fewer of it are needed.
_EF_SHARE: Final = 0.5


class _Searched(NamedTuple):
    """The copy that is searched, and how masks fall to it and to the tail."""

    copy: ApproximateIndex
    splits: IdentityCache[Mask, tuple[Mask | None, Rows]]


class AddedGraph:
    """Finds added items among many thousands. A search never waits for what is being inserted.

    A graph must not be searched while it grows, so one copy is searched while the other takes what came since; then
    they change places (Ramalhete and Correia, "Left-Right", https://hal.science/hal-01207881). Costs two insertions
    and twice the memory for each item.

    Args:
        dimension: The encoder's.
        fresh: Returns a graph without vectors; hnswlib's where it is not given.
    """

    def __init__(self, dimension: int, fresh: Callable[[], Graph] | None = None) -> None:
        self._dimension = dimension
        self._fresh = fresh or partial(HnswlibGraph.empty, dimension, TAIL, _OPTIONS)
        self._ef_search = round(HnswOptions.ef_search * _EF_SHARE)
        self._searched = _Searched(self._empty(), IdentityCache(_MASKS))
        self._growing = self._empty()

    @property
    def rows(self) -> int:
        """How many rows the graph has gone through."""
        return self.index.rows

    def set_ef_search(self, ef_search: int) -> None:
        """Follow the length of the candidate list of the release's graph."""
        self._ef_search = max(1, round(ef_search * _EF_SHARE))
        self.index.ef_search = self._ef_search

    def is_behind(self, count: int) -> bool:
        """Tell whether so many of ``count`` rows are not in the graph that growing is due."""
        return count - self.rows >= (TAIL if self.index.linked else TAIL_OF_CODES)

    def grow(self, vectors: Floats, own: Mask) -> None:
        """Take in the rows that came since; for one thread at a time.

        The caller's searches go on meanwhile, and see all of it or nothing.

        Args:
            vectors: Of which the graph has the beginning; shape [rows, dimension].
            own: Which of them can be found here; shape [rows].
        """
        grown = self._growing.grown(vectors, own)
        grown.ef_search = self._ef_search
        self._searched, self._growing = _Searched(grown, IdentityCache(_MASKS)), self.index

    @property
    def index(self) -> ApproximateIndex:
        """The copy that is searched now."""
        return self._searched.copy

    def search(self, vectors: Floats, queries: Floats, k: int, passing: Mask) -> list[tuple[Rows, Floats]]:
        """Find the ``k`` rows most like each query.

        Args:
            vectors: The rows of the caller's state; shape [rows, dimension]. The graph may have more or fewer.
            queries: Unit vectors; shape [n, dimension].
            k: How many at most.
            passing: Which rows may be found, of those that are `own`; shape [rows]. Must not change any more.

        Returns:
            What the graph found and what the tail has, where rows of theirs pass: rows and scores, best first, each of
            shape [n, k'] with k' at most ``k``.
        """
        index, splits = self._searched
        covered = min(index.rows, len(vectors))
        of_graph, of_tail = splits.of(passing, lambda mask: _split(mask, covered))
        parts = []
        if of_graph is not None:
            hits = index.search(queries, k, of_graph)
            parts.append((hits.labels, hits.scores))
        if len(of_tail):
            rows, scores = nearest_of(vectors[covered:], queries, k, of_tail)
            parts.append((covered + rows, scores))
        return parts

    def _empty(self) -> ApproximateIndex:
        return ApproximateIndex(
            self._fresh(), ExactIndex(np.empty((0, self._dimension), dtype=np.float32)), self._ef_search
        )


def _split(passing: Mask, covered: int) -> tuple[Mask | None, Rows]:
    """Return which of the graph's rows pass, None where none does; and which rows of the tail do, counted from it."""
    of_graph = passing[:covered]
    return of_graph if of_graph.any() else None, np.flatnonzero(passing[covered:])

"""Searches HNSW or PQ for more candidates than are needed, and keeps the best of those that a filter allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from common.arrays import BoolMask, Float32Array, RowIndices
from services.retrieval.ann.ann_index import AnnIndex
from services.retrieval.ann.oversampling import first_passing
from services.retrieval.index.scoring import rescore
from services.retrieval.index.vector_index import Hits
from services.retrieval.index.vector_storage import Selection, VectorStorage

_Candidates = tuple[RowIndices, Float32Array | None]


@dataclass(frozen=True)
class HybridIndexOptions:
    """When candidates of HNSW or PQ are used, and how many.

    Attributes:
        exact_factor: Exact search answers if it costs up to this factor of what the candidates would cost.
        filter_oversampling: A filtered search asks for this factor more candidates than the filter's share of vectors
            calls for, since allowed items come in clusters.
        deepening: PQ is asked again for this factor more candidates if too few passed the filter. If that is more than
            the vectors divided by this factor, exact search answers.
        depth_factor: PQ's order is rougher among vectors that a filter excludes: this factor more candidates are
            compared than lie before the last one needed.
        rebuild_rows: Vectors that one step of a rebuild inserts.
    """

    exact_factor: float = 1.0
    filter_oversampling: float = 1.5
    deepening: int = 4
    depth_factor: float = 1.25
    rebuild_rows: int = 1_000


class CandidateSearch:
    """Finds the best allowed vectors among candidates. The caller holds the index's lock for reading.

    Args:
        ann: HNSW or PQ.
        storage: Its vectors.
        options: When candidates are used, and how many.
    """

    def __init__(self, ann: AnnIndex, storage: VectorStorage, options: HybridIndexOptions) -> None:
        self._ann = ann
        self._storage = storage
        self._options = options

    def search(self, vectors: Float32Array, k: int, selection: Selection, ef_search: int) -> Hits | None:
        """Find the ``k`` selected vectors nearest to each query; None if exact search is cheaper or finds more."""
        count = self._count(k, selection.count, ef_search)
        cost = self._options.exact_factor * self._ann.rows_per_candidate * max(ef_search, count)
        if selection.count <= cost:
            return None
        found: _Candidates | None = self._ann.search(vectors, count)
        if found is not None and selection.mask is not None and selection.count < len(self._storage):
            found = self._filter(vectors, k, selection.mask, min(k, selection.count), found)
        if found is None:
            return None
        labels, scores = found
        if scores is None:
            labels, scores = rescore(self._storage.table, vectors, labels, k)
        return Hits(labels[:, :k], scores[:, :k], "approximate")

    def _count(self, k: int, allowed: int, ef_search: int) -> int:
        """Return how many candidates to ask for, so that enough of them are among the ``allowed`` vectors."""
        total = len(self._storage)
        if allowed == total:
            return min(self._ann.candidates_needed(k), allowed)
        # As many allowed candidates as a search without a filter looks at.
        needed = max(self._options.filter_oversampling * k, ef_search, self._ann.candidates_needed(k))
        return min(total, math.ceil(needed * total / max(1, allowed)))

    def _filter(
        self, vectors: Float32Array, k: int, mask: BoolMask, min_hits: int, found: _Candidates
    ) -> _Candidates | None:
        """Return the candidates that pass a mask; None if a query has fewer than ``min_hits``."""
        if self._ann.is_graph:
            return first_passing(*found, mask[found[0]], min_hits, self._ann.candidates_needed(k))
        deep = self._deep_candidates(vectors, min_hits, mask, found)
        return None if deep is None else first_passing(*deep, mask[deep[0]], min_hits, deep[0].shape[1])

    def _deep_candidates(
        self, vectors: Float32Array, min_hits: int, mask: BoolMask, found: _Candidates
    ) -> _Candidates | None:
        """Return PQ's candidates, asked for again while the last one needed is so far down that their order is rough.

        If all of the nearest were excluded, as many must be asked for as if these were wanted too. None if comparing
        everything takes less time.
        """
        deeper: _Candidates | None = found
        while deeper is not None:
            count = deeper[0].shape[1]
            depth = int((mask[deeper[0]].cumsum(axis=1) < min_hits).sum(axis=1).max()) + 1
            if depth <= count:
                needed = self._ann.candidates_needed(math.ceil(self._options.depth_factor * depth))
            else:
                needed = self._options.deepening * count
            if needed <= count:
                return deeper
            is_worth_it = self._options.deepening * needed <= len(self._storage)
            deeper = self._ann.search(vectors, needed) if is_worth_it else None
        return None

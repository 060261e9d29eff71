"""The index over added items: HNSW of their own, or with PQ a copy of the release's that is extended.

A graph must not be searched while it grows, so there are two copies: one is searched while the other is extended, then
they swap (Ramalhete and Correia, "Left-Right", https://hal.science/hal-01207881)::

    rows of the delta   0 ────────────── covered ──────── end
                        │ index that is searched │ compared  │
                        │ index that is extended ──────────▶ │   then they swap

A search never waits for an insertion. Each item costs two insertions and twice the memory.

A PQ search costs more than what it scans. So if the release has PQ, 50 bytes a vector, both copies begin with all of
the release's codes, and one search finds the nearest of release and delta.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.cache import IdentityCache
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.ann.hnswlib_hnsw import HnswlibHnsw
from services.retrieval.index.concatenated_vectors import ConcatenatedVectors, Table
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.scoring import inner_products, take_along_rows, top_k
from services.retrieval.index.vector_index import Hits
from services.retrieval.index.vector_storage import VectorStorage

# Masks that are cached with their split: most searches at a time share one.
_CACHED_MASKS: Final = 4


@dataclass(frozen=True)
class DeltaIndexOptions:
    """How a delta's index is built and searched.

    Attributes:
        max_uncovered: Rows compared one by one before they are inserted into HNSW: 0.05 ms a thousand at 384
            dimensions. An insertion takes half a millisecond, and is cheaper in batches.
        max_uncovered_pq: The same for PQ, whose insertions take microseconds.
        ef_construction: HNSW's candidate list while it is built.
        ef_share: HNSW's candidate list while it is searched, as a share of the release's. What it finds is merged with
            what the release's index finds, so fewer are needed.
    """

    max_uncovered: int = 1_000
    max_uncovered_pq: int = 100
    ef_construction: int = 100
    ef_share: float = 0.5


class _Copy(NamedTuple):
    """One copy, and the release's PQ index that it began with; None if it began empty."""

    hybrid: HybridIndex
    release: HybridIndex | None


class _Searched(NamedTuple):
    """The copy that is searched, and how masks split into what it covers and what not."""

    copy: _Copy
    splits: IdentityCache[BoolMask, tuple[BoolMask, RowIndices]]


class DeltaIndex:
    """Finds vectors of a delta, and with PQ those of the release too.

    Args:
        dimension: The encoder's.
        release: The index over the release's vectors if that is PQ, else None.
        options: How the index is built and searched.

    Attributes:
        release_rows: How many vectors of the release come before the delta's rows, and are found too; 0 without PQ.
    """

    def __init__(
        self, dimension: int, release: HybridIndex | None = None, options: DeltaIndexOptions | None = None
    ) -> None:
        self._dimension = dimension
        self._options = options or DeltaIndexOptions()
        self.release_rows = 0 if release is None else release.row_count
        self._ef_search = self._own_ef(IndexOptions.ef_search) if release is None else release.ef_search
        self._searched = _searched(self._new_copy(None) if release is None else _Copy(release, release))
        self._growing: _Copy | None = None

    @property
    def includes_release(self) -> bool:
        """Whether a search finds the release's vectors too."""
        return self.release_rows > 0

    @property
    def covered_rows(self) -> int:
        """How many of the delta's rows the index has."""
        return self.index.row_count - self.release_rows

    @property
    def index(self) -> HybridIndex:
        """The copy that is searched now."""
        return self._searched.copy.hybrid

    def set_ef_search(self, ef_search: int) -> None:
        """Follow the length of the candidate list of the release's index."""
        self._ef_search = ef_search if self.includes_release else self._own_ef(ef_search)
        self.index.ef_search = self._ef_search

    def is_behind(self, count: int, release: HybridIndex | None) -> bool:
        """Return whether `extend` is due: for the rows not covered of ``count``, or because PQ was rebuilt.

        Args:
            count: Rows of the delta.
            release: The index over the release's vectors as it is now, if that is PQ.
        """
        max_uncovered = self._options.max_uncovered if self.index.is_graph else self._options.max_uncovered_pq
        was_rebuilt = self._searched.copy.release is not release
        return count - self.covered_rows >= max_uncovered or (was_rebuilt and count > 0)

    def extend(self, vectors: Float32Array, has_own_vector: BoolMask, release: HybridIndex | None) -> None:
        """Insert the rows that are not covered yet, while searches go on; for one thread at a time.

        A search sees all of the change or nothing.

        Args:
            vectors: The delta's, of which the index covers the beginning; shape [rows, dimension].
            has_own_vector: Which of them can be found here; shape [rows].
            release: See `is_behind`.
        """
        copy = self._growing
        if copy is None or copy.release is not release:
            copy = self._new_copy(release)
        extended = copy.hybrid.extended(*_with_release(release, vectors, has_own_vector))
        extended.ef_search = self._ef_search
        before, self._searched = self._searched.copy, _searched(_Copy(extended, release))
        # The release's own index is never extended, and a copy of one that was rebuilt is of no more use.
        is_reusable = before.release is release and before.hybrid is not release
        self._growing = before if is_reusable else None

    def search(self, vectors: Float32Array, queries: Float32Array, k: int, allowed: BoolMask) -> Hits:
        """Find the ``k`` nearest rows, counted from the first of the release's vectors if these are included.

        Args:
            vectors: The delta of the caller's snapshot; shape [rows, dimension]. The index may cover more or fewer.
            queries: Unit vectors; shape [n, dimension].
            k: How many at most.
            allowed: Which rows may be found, of the release's vectors followed by the delta's that have a vector of
                their own; shape [release_rows + rows]. Must not change any more.
        """
        copy, splits = self._searched
        covered = min(copy.hybrid.row_count, len(allowed))
        in_index, uncovered = splits.get_or_make(allowed, lambda mask: (mask[:covered], np.flatnonzero(mask[covered:])))
        hits = copy.hybrid.search(queries, k, in_index)
        if not len(uncovered):
            return hits
        products = inner_products(vectors[covered - self.release_rows :], queries, uncovered)
        scores = np.concatenate([hits.scores, products], axis=1)
        labels = np.concatenate([hits.labels, np.broadcast_to(covered + uncovered, products.shape)], axis=1)
        best = top_k(scores, k)
        return Hits(take_along_rows(labels, best), take_along_rows(scores, best), hits.method)

    def _own_ef(self, release_ef: int) -> int:
        return max(1, round(release_ef * self._options.ef_share))

    def _new_copy(self, release: HybridIndex | None) -> _Copy:
        """Return an index to extend: a copy of the release's PQ, else an empty HNSW."""
        if release is not None:
            return _Copy(release.copied(), release)
        options = IndexOptions(ef_construction=self._options.ef_construction)
        ann = HnswlibHnsw.empty(self._dimension, self._options.max_uncovered, options)
        empty = VectorStorage(np.empty((0, self._dimension), dtype=np.float32))
        return _Copy(HybridIndex(ann, empty, self._ef_search), None)


def _searched(copy: _Copy) -> _Searched:
    return _Searched(copy, IdentityCache(_CACHED_MASKS))


def _with_release(
    release: HybridIndex | None, vectors: Float32Array, has_own_vector: BoolMask
) -> tuple[Table, BoolMask]:
    """Return the vectors of release and delta in one table, and which of them are live."""
    if release is None:
        return vectors, has_own_vector
    released, removed = release.table_and_removed()
    is_live = np.concatenate([np.ones(len(released), dtype=np.bool_), has_own_vector])
    is_live[removed] = False
    return ConcatenatedVectors(released, vectors), is_live

"""What finds added items, and where it is codes the release's too: two copies, one searched while the other grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.cache import IdentityCache
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.ann.hnswlib_hnsw import HnswlibHnsw
from services.retrieval.index.concatenated_vectors import ConcatenatedVectors, Table
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.scoring import inner_products, take_along_rows, top_k
from services.retrieval.index.vector_index import Hits

# Rows behind the graph's end are compared one by one, at 384 dimensions some 0.05 ms a thousand. Inserting a row among
# links takes half a millisecond and is better done for many; a code takes microseconds.
TAIL: Final = 1_000
TAIL_OF_CODES: Final = 100
_OPTIONS: Final = IndexOptions(ef_construction=100)


# Masks that are remembered with how they fall apart: most searches at a time share one.
_MASKS: Final = 4
# What a graph of added items alone finds joins what the release's finds, so that fewer of it are needed.
_EF_SHARE: Final = 0.5


# Returns the index over the release's vectors as it is now, where codes of added items can go behind its own.
Codes = Callable[[], HybridIndex | None]


def no_codes() -> None:
    """Have added items found by a graph of their own; see `Codes`."""


class _Copy(NamedTuple):
    """An index that may grow, and the release's index whose codes it began with, None where it began with nothing."""

    made: HybridIndex
    of: HybridIndex | None


class _Searched(NamedTuple):
    """The copy that is searched, and how masks fall to it and to the tail."""

    copy: _Copy
    splits: IdentityCache[BoolMask, tuple[BoolMask, RowIndices]]


class DeltaIndex:
    """Finds added items among many thousands. A search never waits for what is being inserted.

    A graph must not be searched while it grows, so one copy is searched while the other takes what came since; then
    they change places (Ramalhete and Correia, "Left-Right", https://hal.science/hal-01207881). Costs two insertions
    and twice the memory for each item.

    A scan costs more than what it scans: where the release's vectors are codes, 50 bytes each, both copies begin with
    all of them, and one search finds what is nearest among the release's vectors and those added.

    Args:
        dimension: The encoder's.
        codes: Of the release, where there are any.

    Attributes:
        released: How many vectors of the release stand before the added rows, and are found too.
    """

    def __init__(self, dimension: int, codes: Codes = no_codes) -> None:
        self._dimension = dimension
        self._codes = codes
        release = codes()
        self.released = 0 if release is None else release.rows
        self._ef_search = round(IndexOptions.ef_search * _EF_SHARE) if release is None else release.ef_search
        self._searched = _searched(self._begun(None) if release is None else _Copy(release, release))
        self._growing: _Copy | None = None

    @property
    def joined(self) -> bool:
        """Whether a search finds the release's vectors too."""
        return self.released > 0

    @property
    def rows(self) -> int:
        """How many of the added rows the graph has gone through."""
        return self.index.rows - self.released

    def set_ef_search(self, ef_search: int) -> None:
        """Follow the length of the candidate list of the release's graph."""
        self._ef_search = ef_search if self.joined else max(1, round(ef_search * _EF_SHARE))
        self.index.ef_search = self._ef_search

    def is_behind(self, count: int) -> bool:
        """Tell whether growing is due: for so many of ``count`` rows not in it, or for codes that were built anew."""
        is_of_another = self._searched.copy.of is not self._codes()
        return count - self.rows >= (TAIL if self.index.is_graph else TAIL_OF_CODES) or (is_of_another and count > 0)

    def grow(self, vectors: Float32Array, own: BoolMask) -> None:
        """Take in the rows that came since; for one thread at a time.

        The caller's searches go on meanwhile, and see all of it or nothing.

        Args:
            vectors: Of which the graph has the beginning; shape [rows, dimension].
            own: Which of them can be found here; shape [rows].
        """
        release, copy = self._codes(), self._growing
        if copy is None or copy.of is not release:
            copy = self._begun(release)
        grown = copy.made.grown(*_behind(release, vectors, own))
        grown.ef_search = self._ef_search
        before, self._searched = self._searched.copy, _searched(_Copy(grown, release))
        # The release's own stays as it is, and a copy of codes that were built anew is of no more use.
        self._growing = before if before.of is release and before.made is not release else None

    @property
    def index(self) -> HybridIndex:
        """The copy that is searched now."""
        return self._searched.copy.made

    def search(self, vectors: Float32Array, queries: Float32Array, k: int, passing: BoolMask) -> Hits:
        """Find the ``k`` rows most like each query, counted from the first of the release's vectors.

        Args:
            vectors: The added rows of the caller's state; shape [rows, dimension]. The graph may have more or fewer.
            queries: Unit vectors; shape [n, dimension].
            k: How many at most.
            passing: Which rows may be found, of the release's vectors and behind them of the added rows that are `own`;
                shape [released + rows]. Must not change any more.
        """
        copy, splits = self._searched
        covered = min(copy.made.rows, len(passing))
        of_graph, of_tail = splits.get_or_make(passing, lambda mask: (mask[:covered], np.flatnonzero(mask[covered:])))
        hits = copy.made.search(queries, k, of_graph)
        if not len(of_tail):
            return hits
        products = inner_products(vectors[covered - self.released :], queries, of_tail)
        scores = np.concatenate([hits.scores, products], axis=1)
        labels = np.concatenate([hits.labels, np.broadcast_to(covered + of_tail, products.shape)], axis=1)
        best = top_k(scores, k)
        return Hits(take_along_rows(labels, best), take_along_rows(scores, best), hits.method)

    def _begun(self, release: HybridIndex | None) -> _Copy:
        """Return what grows from nothing, or from the release's codes."""
        if release is not None:
            return _Copy(release.copied(), release)
        graph = HnswlibHnsw.empty(self._dimension, TAIL, _OPTIONS)
        nothing = FlatIndex(np.empty((0, self._dimension), dtype=np.float32))
        return _Copy(HybridIndex(graph, nothing, self._ef_search), None)


def _searched(copy: _Copy) -> _Searched:
    return _Searched(copy, IdentityCache(_MASKS))


def _behind(release: HybridIndex | None, vectors: Float32Array, own: BoolMask) -> tuple[Table, BoolMask]:
    """Return the added rows behind the release's vectors, and which of all are there."""
    if release is None:
        return vectors, own
    released, removed = release.table()
    there = np.concatenate([np.ones(len(released), dtype=np.bool_), own])
    there[removed] = False
    return ConcatenatedVectors(released, vectors), there

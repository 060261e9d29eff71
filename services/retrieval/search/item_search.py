"""Finds the items nearest to vectors: in the index over the release's texts, and in that of the items added since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from common.arrays import Float32Array, RowIndices
from services.retrieval.catalogue.delta import Delta
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems, merged
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.index.delta_index import DeltaIndex, DeltaIndexOptions
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.scoring import nearest
from services.retrieval.index.vector_index import Method, VectorIndex
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.search.delta_indexes import DeltaIndexes
from services.retrieval.search.neighbour_cache import NeighbourCache

# Receives each approximate search: the query, how many were asked for, what was allowed, and what was found.
SearchObserver = Callable[[Float32Array, int, AllowedItems, ScoredItems], None]
# How vectors were searched; `cached` neighbours were searched for an earlier request.
Path = Method | Literal["cached"]


@dataclass(frozen=True)
class ItemSearchOptions:
    """When cached neighbours are used.

    Attributes:
        min_allowed_share: Cached neighbours know no filter: they are used only if this share of the items is allowed.
        neighbour_oversampling: More neighbours are cached than asked for, by this factor, since a filter drops some.
        max_compared_delta: With PQ, cached neighbours are used only while the delta has at most this many items, which
            are then compared one by one; a scan of everything is faster for more.
        delta_index: How a delta's index is built and searched.
    """

    min_allowed_share: float = 0.9
    neighbour_oversampling: float = 1.25
    max_compared_delta: int = 1_000
    delta_index: DeltaIndexOptions | None = None


class _Release(NamedTuple):
    """The index over the release's vectors, and the neighbours that it found."""

    vector_index: VectorIndex
    neighbours: NeighbourCache


class ItemSearch:
    """Searches snapshots of one release's catalogue.

    Args:
        index: Over the release's vectors; labels are their rows.
        vectors: Those vectors; shape [vectors, dimension].
        items: Which item has which vector.
        cached: How many vectors' neighbours are cached.
        options: When cached neighbours are used.

    Attributes:
        observer: Receives each search that HNSW or PQ answered; None for nobody.
    """

    def __init__(
        self,
        index: VectorIndex,
        vectors: Float32Array,
        items: ItemVectors,
        cached: int,
        options: ItemSearchOptions | None = None,
    ) -> None:
        self._vectors = vectors
        self._items = items
        self._items_and_delta = items  # with as many rows of the delta as were needed so far
        self._cached = cached
        self._options = options or ItemSearchOptions()
        self.observer: SearchObserver | None = None
        self._delta_indexes = DeltaIndexes(index.dimension, self._options.delta_index)
        self.replace_index(index)

    @property
    def index(self) -> VectorIndex:
        """The index over the release's vectors, or over those of them that still have items."""
        return self._release.vector_index

    @property
    def pq_index(self) -> HybridIndex | None:
        """The same if it is PQ, so that codes of the delta can follow the release's; else None."""
        index = self._release.vector_index
        return index if isinstance(index, HybridIndex) and not index.is_graph else None

    def replace_index(self, index: VectorIndex) -> None:
        """Use another index over the release's vectors from now on; the same one only forgets cached neighbours."""
        self._release = _Release(index, NeighbourCache(index, self._vectors, self._cached))

    def delta_index_of(self, delta: Delta) -> DeltaIndex:
        """Return the index of a delta."""
        return self._delta_indexes.index_of(delta, self.pq_index)

    def search(self, queries: Float32Array, k: int, allowed: AllowedItems) -> tuple[list[ScoredItems], Path | None]:
        """Find the ``k`` allowed items nearest to each query.

        Args:
            queries: Unit vectors; shape [n, dimension].
            k: How many at most.
            allowed: The items that may be found.

        Returns:
            One result per query, and how the index searched; None if it did not have to.
        """
        path: Path | None
        delta_index = self.delta_index_of(allowed.snapshot.delta)
        if delta_index.includes_release and allowed.delta_rows.any():
            results, path = self._search_combined(delta_index, queries, k, allowed)
        else:
            of_release, path = self._search_release(queries, k, allowed)
            results = self._merge_delta(delta_index, of_release, queries, k, allowed)
        if path == "approximate" and self.observer is not None:
            for query, result in zip(queries, results, strict=True):
                self.observer(query, k, allowed, result)
        return results, path

    def search_exactly(self, query: Float32Array, k: int, allowed: AllowedItems) -> ScoredItems:
        """Find the ``k`` allowed items nearest to a query, shape [dimension], by comparing every one."""
        labels, scores = nearest(self._vectors, query[np.newaxis], k, allowed.release_vectors)
        of_release = self._items_of(labels, scores, k, allowed)[0]
        snapshot = allowed.snapshot
        rows, scores = nearest(snapshot.delta.vectors, query[np.newaxis], k, allowed.delta_rows)
        return merged([of_release, ScoredItems(len(snapshot.base) + rows[0], scores[0])], k)

    def set_ef_search(self, ef_search: int, snapshot: Snapshot) -> None:
        """Change the length of the candidate list of later searches."""
        index = self.index
        if isinstance(index, HybridIndex):
            index.ef_search = ef_search
        self.delta_index_of(snapshot.delta).set_ef_search(ef_search)

    def search_around(self, rows: RowIndices, k: int, allowed: AllowedItems) -> tuple[list[ScoredItems], Path | None]:
        """Find the ``k`` allowed items nearest to each of the items ``rows``, itself included; see `search`."""
        snapshot, options = allowed.snapshot, self._options
        queries = self.vectors_of(snapshot, rows)
        items = snapshot.vector_origin_of(rows)
        delta_index = self.delta_index_of(snapshot.delta)
        has_long_delta = delta_index.includes_release and len(snapshot.delta) > options.max_compared_delta
        is_filtered = allowed.count < options.min_allowed_share * snapshot.item_count
        if is_filtered or (items < 0).any() or has_long_delta:
            return self.search(queries, k, allowed)
        cached = self._release.neighbours.neighbours_of(
            self._items.vector_of_item[items], int(options.neighbour_oversampling * k)
        )
        if len({len(near.rows) for near in cached}) == 1:
            labels, scores = (np.stack(parts) for parts in zip(*cached, strict=True))
            of_release = self._items_of(labels, scores, k, allowed)
        else:
            of_release = [self._items_of(near.rows[None], near.scores[None], k, allowed)[0] for near in cached]
        if any(len(near.rows) < min(k, self._available(allowed)) for near in of_release):
            return self.search(queries, k, allowed)
        return self._merge_delta(delta_index, of_release, queries, k, allowed), "cached"

    def _available(self, allowed: AllowedItems) -> int:
        """Return how many of the release's items a search could return."""
        mask = allowed.release_vectors if allowed.one_per_text else allowed.release_items
        if mask is not None:
            return int(np.count_nonzero(mask))
        return self._items.count if allowed.one_per_text else len(allowed.snapshot.base)

    def vectors_of(self, snapshot: Snapshot, rows: RowIndices) -> Float32Array:
        """Return the vectors of items; shape [rows, dimension]."""
        if not len(snapshot.delta):
            return self._vectors[self._items.vector_of_item[rows]]
        in_base = rows < len(snapshot.base)
        vectors = np.empty((len(rows), self.index.dimension), dtype=np.float32)
        vectors[in_base] = self._vectors[self._items.vector_of_item[rows[in_base]]]
        vectors[~in_base] = snapshot.delta.vectors[rows[~in_base] - len(snapshot.base)]
        return vectors

    def _search_combined(
        self, delta_index: DeltaIndex, queries: Float32Array, k: int, allowed: AllowedItems
    ) -> tuple[list[ScoredItems], Path]:
        """Find the nearest of the release's items and of the delta's in one scan of PQ codes."""
        masks, snapshot = allowed.combined, allowed.snapshot
        hits = delta_index.search(snapshot.delta.vectors, queries, k, masks.vectors)
        items = self._items_with_delta(len(masks.vectors))
        distinct = allowed.one_per_text
        found = items.fan_out(hits.labels, hits.scores, k, masks.items, snapshot.visible_row, one_per_vector=distinct)
        return found, hits.method

    def _items_with_delta(self, count: int) -> ItemVectors:
        """Return which item has which vector, of at least ``count`` vectors."""
        items = self._items_and_delta
        if items.count < count:
            items = self._items_and_delta = self._items.extended(2 * (count - self._items.count))
        return items

    def _search_release(
        self, queries: Float32Array, k: int, allowed: AllowedItems
    ) -> tuple[list[ScoredItems], Path | None]:
        if allowed.release_vectors is not None and not allowed.release_vectors.any():
            return [NOTHING] * len(queries), None
        hits = self.index.search(queries, k, allowed.release_vectors)
        return self._items_of(hits.labels, hits.scores, k, allowed), hits.method

    def _items_of(self, labels: RowIndices, scores: Float32Array, k: int, allowed: AllowedItems) -> list[ScoredItems]:
        """Return the first ``k`` allowed items of each row of the release's vectors, as their current rows."""
        masks, row = allowed.release_items, allowed.snapshot.replacement_row
        return self._items.fan_out(labels, scores, k, masks, row, one_per_vector=allowed.one_per_text)

    def _merge_delta(
        self,
        delta_index: DeltaIndex,
        of_release: list[ScoredItems],
        queries: Float32Array,
        k: int,
        allowed: AllowedItems,
    ) -> list[ScoredItems]:
        """Merge what was found of the release's items with the nearest of the delta's."""
        base, delta, mask = len(allowed.snapshot.base), allowed.snapshot.delta, allowed.delta_rows
        if not mask.any():
            return of_release
        if delta_index.includes_release:
            rows, scores = nearest(delta.vectors, queries, k, mask)
        else:
            rows, scores, _ = delta_index.search(delta.vectors, queries, k, mask)
        of_delta = map(ScoredItems, base + rows, scores)
        return [merged(pair, k) for pair in zip(of_release, of_delta, strict=True)]

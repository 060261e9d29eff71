"""Caches the nearest neighbours of the release's own vectors."""

from __future__ import annotations

import numpy as np

from common.arrays import Float32Array, RowIndices
from common.cache import LruCache
from services.retrieval.catalogue.scored_items import ScoredItems
from services.retrieval.index.vector_index import VectorIndex


class NeighbourCache:
    """Searches for vectors of the release, and caches the results: histories of different users share items.

    Args:
        index: Over the vectors. Must not change, because what was found is not searched again.
        vectors: The vectors, the label of each being its row; shape [vectors, dimension].
        cached: How many vectors' neighbours are cached; with 100 neighbours each takes 1.5 kB.
    """

    def __init__(self, index: VectorIndex, vectors: Float32Array, cached: int) -> None:
        self._index = index
        self._vectors = vectors
        self._cache: LruCache[tuple[int, int], ScoredItems] = LruCache(cached)

    def neighbours_of(self, labels: RowIndices, k: int) -> list[ScoredItems]:
        """Return the labels and scores of the ``k`` vectors nearest to each of ``labels``, itself included."""
        keys = [(label, k) for label in labels.tolist()]
        known = {key: found for key in keys if (found := self._cache.get(key)) is not None}
        missing = [key for key in dict.fromkeys(keys) if key not in known]
        if missing:
            hits = self._index.search(self._vectors[np.array([label for label, _ in missing])], k)
            for key, near, scores in zip(missing, hits.labels, hits.scores, strict=True):
                known[key] = ScoredItems(near.copy(), scores.copy())  # a view would keep the whole search alive
                self._cache.put(key, known[key])
        return [known[key] for key in keys]

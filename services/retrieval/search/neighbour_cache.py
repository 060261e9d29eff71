"""The neighbours of the release's own vectors, searched once."""

from __future__ import annotations

import numpy as np

from common.arrays import Float32Array, RowIndices
from common.cache import LruCache
from services.retrieval.catalogue.scored_items import ScoredItems
from services.retrieval.index.vector_index import VectorIndex


class NeighbourCache:
    """Searches around vectors of the release and remembers what it found: histories are full of the same items.

    Args:
        index: Over the vectors; must not change, since what was found is never searched again.
        vectors: The vectors, the label of each being its row; shape [vectors, dimension].
        cached: How many vectors' neighbours are remembered; with 100 neighbours each costs 1.5 kB.
    """

    def __init__(self, index: VectorIndex, vectors: Float32Array, cached: int) -> None:
        self.index = index
        self._vectors = vectors
        self._cache: LruCache[tuple[int, int], ScoredItems] = LruCache(cached)

    def of(self, labels: RowIndices, k: int) -> list[ScoredItems]:
        """Return the labels and scores of the ``k`` vectors nearest to each of ``labels``, itself included."""
        keys = [(label, k) for label in labels.tolist()]
        known = {key: found for key in keys if (found := self._cache.get(key)) is not None}
        missing = [key for key in dict.fromkeys(keys) if key not in known]
        if missing:
            hits = self.index.search(self._vectors[np.array([label for label, _ in missing])], k)
            for key, near, scores in zip(missing, hits.labels, hits.scores, strict=True):
                known[key] = ScoredItems(near.copy(), scores.copy())  # a view would keep the whole search alive
                self._cache.put(key, known[key])
        return [known[key] for key in keys]

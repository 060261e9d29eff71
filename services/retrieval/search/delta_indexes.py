"""The index of each delta that a snapshot may still hold: a compaction renumbers the delta and begins a new index."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from services.retrieval.catalogue.delta import Delta, DeltaStorage
from services.retrieval.index.delta_index import DeltaIndex, DeltaIndexOptions
from services.retrieval.index.hybrid_index import HybridIndex


class DeltaIndexes:
    """An index for each delta's storage, which lives as long as that. Safe for threads.

    Args:
        dimension: The encoder's.
        options: How the indexes are built and searched.
    """

    def __init__(self, dimension: int, options: DeltaIndexOptions | None = None) -> None:
        self._dimension = dimension
        self._options = options
        self._by_storage: WeakKeyDictionary[DeltaStorage, DeltaIndex] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def index_of(self, delta: Delta, release: HybridIndex | None) -> DeltaIndex:
        """Return the index of a delta; makes it if there is none.

        Args:
            delta: The delta.
            release: The index over the release's vectors if that is PQ, else None.
        """
        index = self._by_storage.get(delta.storage)
        if index is None:
            with self._lock:
                index = self._by_storage.get(delta.storage)
                if index is None:
                    index = self._by_storage[delta.storage] = DeltaIndex(self._dimension, release, self._options)
        return index

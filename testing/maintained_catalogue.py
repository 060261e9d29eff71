"""A live catalogue of many items with its search and its maintenance, whose steps a test runs itself."""

from __future__ import annotations

import numpy as np

from common.arrays import Float32Array
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.live_catalogue import LiveCatalogue
from services.retrieval.maintenance.delta_compaction import DeltaCompaction, DeltaCompactionOptions
from services.retrieval.maintenance.index_maintenance import IndexMaintenance, IndexMaintenanceOptions
from services.retrieval.search.item_filter import ItemFilter
from services.retrieval.search.item_search import ItemSearch


class MaintainedCatalogue:
    """A release's catalogue and what maintains it.

    Args:
        artifacts: The release's.
        compaction: When the delta is compacted.
        index_maintenance: When the release's index is rebuilt.
    """

    def __init__(
        self,
        artifacts: ReleaseArtifacts,
        compaction: DeltaCompactionOptions | None = None,
        index_maintenance: IndexMaintenanceOptions | None = None,
    ) -> None:
        items = ItemVectors(artifacts.vector_of_item, len(artifacts.vectors), artifacts.popularity)
        self.search = ItemSearch(artifacts.index, artifacts.vectors, items, cached=100)
        self.catalogue = LiveCatalogue(artifacts.catalogue, artifacts.index.dimension, artifacts.vectors_of)
        self.compaction = DeltaCompaction(self.catalogue, self.search, compaction)
        self.index_maintenance = IndexMaintenance(
            self.catalogue, self.search, items, artifacts.vectors, index_maintenance
        )
        self._filter = ItemFilter(artifacts.catalogue.table.select(artifacts.catalogue.attributes()), items)

    def upsert(self, prefix: str, vectors: Float32Array) -> None:
        """Upsert items named by a prefix and their numbers from 0."""
        items = [Item(f"{prefix}-{number}", prefix) for number in range(len(vectors))]
        self.catalogue.apply(items, vectors, [])

    def delete(self, first: int, last: int) -> None:
        """Delete items of the release."""
        names = [f"item-{number}" for number in range(first, last)]
        self.catalogue.apply([], np.empty((0, self.search.index.dimension), np.float32), names)

    def nearest(self, vectors: Float32Array) -> list[str]:
        """Return the id of the item found nearest to each vector."""
        snapshot = self.catalogue.snapshot
        found, _ = self.search.search(vectors, 1, self._filter.allowed(snapshot, None))
        return [snapshot.item_ids(items.rows)[0] for items in found]

    def around(self, item_id: str, k: int) -> list[str]:
        """Return the ids of the ``k`` items found nearest to an item, from the cache of neighbours if it has them."""
        snapshot = self.catalogue.snapshot
        (found,), _ = self.search.search_around(snapshot.rows_of([item_id]), k, self._filter.allowed(snapshot, None))
        return snapshot.item_ids(found.rows)

    def audit_all(self) -> None:
        """Audit until nothing is left, with the maintenance that this makes due."""
        while self.index_maintenance.audit() or self.index_maintenance.run_if_due():
            pass

"""Keeps the delta searchable and small: inserts new rows into its index, and drops superseded rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.gc_freeze import freeze_new_objects, refreeze_heap
from services.retrieval.catalogue.delta import Delta
from services.retrieval.catalogue.live_catalogue import LiveCatalogue
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.search.item_search import ItemSearch


@dataclass(frozen=True)
class DeltaCompactionOptions:
    """When a delta is compacted.

    Attributes:
        min_superseded: Up to this many superseded or deleted rows are kept; more are dropped once they are the
            majority.
        frozen_items: Each time that this many items were added, they are frozen. Garbage collection skips them then;
            otherwise it would hold up every search. Freezing takes 4 ms a thousand.
        refreeze_every: A freeze also keeps garbage of calls under way, a few hundred kilobytes. After this many freezes
            it is collected.
    """

    min_superseded: int = 1_000
    frozen_items: int = 1_000
    refreeze_every: int = 100


class DeltaCompaction:
    """Compacts the delta of one catalogue. For one thread at a time; searches and changes go on meanwhile.

    Args:
        catalogue: The catalogue.
        search: Searches it.
        options: When the delta is compacted.
    """

    def __init__(
        self, catalogue: LiveCatalogue, search: ItemSearch, options: DeltaCompactionOptions | None = None
    ) -> None:
        self._catalogue = catalogue
        self._search = search
        self._options = options or DeltaCompactionOptions()
        self._frozen = self._freezes = 0

    def run_if_due(self) -> bool:
        """Compact the delta, or else insert its new rows into its index; returns whether either was due."""
        snapshot = self._catalogue.snapshot
        if self._is_compaction_due(snapshot):
            self._compact(snapshot)
            return True
        if self._insert_new_rows(snapshot.delta):
            self._freeze(len(snapshot.delta))
            return True
        return False

    def _is_compaction_due(self, snapshot: Snapshot) -> bool:
        live = int(np.count_nonzero(snapshot.delta_is_live))
        return len(snapshot.delta) - live > max(self._options.min_superseded, live)

    def _compact(self, before: Snapshot) -> None:
        """Drop superseded rows. The writer is held up only while the result is published."""
        compacted = before.delta.compacted(before.delta_is_live)
        self._insert_new_rows(compacted)
        self._catalogue.replace_delta(before, compacted)

    def _insert_new_rows(self, delta: Delta) -> bool:
        """Insert the rows that the delta's index does not cover; returns whether there were enough."""
        release, index = self._search.pq_index, self._search.delta_index_of(delta)
        if not index.is_behind(len(delta), release):
            return False
        index.extend(delta.vectors, delta.has_own_vector, release)
        return True

    def _freeze(self, items: int) -> None:
        """Keep added items out of garbage collection, once there are enough new ones."""
        self._frozen = min(self._frozen, items)  # a compaction may have dropped some
        if items - self._frozen < self._options.frozen_items:
            return
        self._frozen = items
        self._freezes += 1
        if self._freezes % self._options.refreeze_every:
            freeze_new_objects()
        else:
            refreeze_heap()

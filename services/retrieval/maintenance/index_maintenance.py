"""Rebuilds the index over the release's vectors when it is due, and audits the graphs for unreachable vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from common.arrays import Float32Array
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.live_catalogue import LiveCatalogue
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.index.hybrid_index import HybridIndex, IndexRebuild
from services.retrieval.search.item_search import ItemSearch

_log: Final = structlog.get_logger()


@dataclass(frozen=True)
class IndexMaintenanceOptions:
    """When the release's index is rebuilt.

    Attributes:
        max_removed_share: HNSW is rebuilt if more of its vectors than this have no items any more: searches walk
            through them for nothing. A rebuild takes half a millisecond for each vector left.
        max_removed_share_pq: The same for PQ, where a vector without items costs no more than its part of a scan.
        min_removed: It is not rebuilt for fewer vectors without items.
        max_unreachable_share: HNSW is rebuilt if more of its vectors than this are unreachable: each search compares
            them one by one, 0.1 ms a thousand.
        min_unreachable: It is not rebuilt for fewer unreachable vectors.
        audit_batch: Vectors that are audited at a time, which takes some twenty milliseconds.
    """

    max_removed_share: float = 0.3
    max_removed_share_pq: float = 0.5
    min_removed: int = 1_000
    max_unreachable_share: float = 0.001
    min_unreachable: int = 100
    audit_batch: int = 64


class IndexMaintenance:
    """Maintains the indexes of one release. For one thread at a time; searches go on meanwhile.

    An index of another type than `HybridIndex` needs no maintenance.

    Args:
        catalogue: The catalogue.
        search: Searches it.
        items: Which item of the release has which vector.
        vectors: The release's vectors; shape [vectors, dimension].
        options: When the index is rebuilt.
    """

    def __init__(
        self,
        catalogue: LiveCatalogue,
        search: ItemSearch,
        items: ItemVectors,
        vectors: Float32Array,
        options: IndexMaintenanceOptions | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._search = search
        self._items = items
        self._vectors = vectors
        self._options = options or IndexMaintenanceOptions()
        self._rebuild: IndexRebuild | None = None
        self._was_rebuilt_for_unreachable = False

    def run_if_due(self) -> bool:
        """Do one step of a rebuild if one is due, of a thousand vectors; returns whether it was.

        Other maintenance can run between the steps: a rebuild of a large index takes minutes.
        """
        index = self._search.index
        if not isinstance(index, HybridIndex):
            return False
        rebuild = self._rebuild or self._begin_if_due(index)
        if rebuild is None:
            return False
        self._rebuild = None  # a step that fails ends the rebuild
        rebuilt = rebuild.advance()
        if rebuilt is None:
            self._rebuild = rebuild
            return True
        rebuilt.ef_search = index.ef_search  # it may have been changed meanwhile
        self._search.replace_index(rebuilt)
        _log.info(
            "index rebuilt",
            vectors=len(rebuilt),
            removed=len(index) - len(rebuilt),
            unreachable=index.unreachable,
        )
        return True

    def audit(self) -> bool:
        """Audit a few vectors of the graphs; returns whether any are left to audit."""
        for name, index in self._indexes().items():
            if index.audit_pending:
                missed = index.audit(self._options.audit_batch)
                if name == "release" and len(missed):  # cached neighbours lack these
                    self._search.replace_index(index)
                if index.unreachable and not index.audit_pending:
                    _log.warning(
                        "the index has unreachable vectors; they are compared exactly",
                        index=name,
                        vectors=len(index),
                        unreachable=index.unreachable,
                    )
                return True
        return False

    @property
    def unreachable(self) -> int:
        """How many vectors of the graphs are known to be unreachable."""
        return sum(index.unreachable for index in self._indexes().values())

    @property
    def audit_pending(self) -> int:
        """How many vectors of the graphs are still to be audited."""
        return sum(index.audit_pending for index in self._indexes().values())

    def _indexes(self) -> dict[str, HybridIndex]:
        index = self._search.index
        of_release = {"release": index} if isinstance(index, HybridIndex) else {}
        return of_release | {"delta": self._search.delta_index_of(self._catalogue.snapshot.delta).index}

    def _begin_if_due(self, index: HybridIndex) -> IndexRebuild | None:
        if self._has_too_many_unreachable(index):
            self._was_rebuilt_for_unreachable = True
        elif not self._has_too_many_removed(index, self._catalogue.snapshot):
            return None
        keeps_vector = self._catalogue.forget_removed_vectors()
        return index.rebuild(np.flatnonzero(self._items.vectors_with(keeps_vector)), self._vectors)

    def _has_too_many_unreachable(self, index: HybridIndex) -> bool:
        """Return whether to rebuild for unreachable vectors; once only, because the next graph may have as many."""
        bound = max(self._options.min_unreachable, self._options.max_unreachable_share * len(index))
        return not self._was_rebuilt_for_unreachable and index.unreachable > bound

    def _has_too_many_removed(self, index: HybridIndex, snapshot: Snapshot) -> bool:
        replacement_row = snapshot.replacement_row
        if replacement_row is None:
            return False
        share = self._options.max_removed_share if index.is_graph else self._options.max_removed_share_pq
        bound, is_found = max(self._options.min_removed, share * len(index)), replacement_row >= 0
        if len(is_found) - np.count_nonzero(is_found) <= bound:  # no more vectors are removed than items
            return False
        return len(index) - int(np.count_nonzero(self._items.vectors_with(is_found))) > bound

"""The catalogue that changes while it is searched: one writer, and readers that hold a snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.release.catalogue import Catalogue
from services.retrieval.catalogue.delta import Delta, empty_delta
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.snapshot import Snapshot

# Vectors whose numbers differ by no more are the same: scaling one to unit length again changes its last digits.
_MAX_DIFFERENCE: Final = 1e-6


@dataclass(frozen=True)
class ChangeCounts:
    """How many items a change inserted, replaced and deleted, and how many ids to delete were unknown."""

    inserted: int = 0
    replaced: int = 0
    deleted: int = 0
    missing: int = 0


class LiveCatalogue:
    """A release's catalogue with changes on top. A snapshot taken after a change sees all of it.

    Args:
        base: The release's catalogue.
        dimension: The encoder's.
        release_vectors: Returns the vectors of the release's items, given their rows; None if they are not known.
    """

    def __init__(
        self,
        base: Catalogue,
        dimension: int,
        release_vectors: Callable[[RowIndices], Float32Array] | None = None,
    ) -> None:
        self._release_vectors = release_vectors
        self._keeps_vector = np.ones(len(base), dtype=np.bool_)
        delta = empty_delta(base.table.select(base.attributes()).schema, dimension)
        self._snapshot = Snapshot(0, base, delta, np.ones(len(base), dtype=np.bool_))
        self._writer = threading.Lock()

    @property
    def snapshot(self) -> Snapshot:
        """The catalogue as it is now."""
        return self._snapshot

    def apply(self, items: Sequence[Item], vectors: Float32Array, deleted: Sequence[str]) -> ChangeCounts:
        """Upsert items and delete others; both become visible at once.

        Args:
            items: Items with distinct ids; an item that is there is replaced whole.
            vectors: Their unit embeddings; shape [items, dimension].
            deleted: Ids to delete; unknown ones are counted as missing.
        """
        with self._writer:
            snapshot = self._snapshot
            replaced = snapshot.rows_of([item.item_id for item in items])
            gone = snapshot.rows_of(deleted)
            origin = snapshot.base.rows_of([item.item_id for item in items])
            delta = snapshot.delta
            if items:
                delta = delta.extended(items, vectors, origin, self._has_own_vector(origin, vectors))
            self._snapshot = _changed(snapshot, delta, np.concatenate([replaced, gone]))
        return ChangeCounts(
            inserted=int((replaced < 0).sum()),
            replaced=int((replaced >= 0).sum()),
            deleted=int((gone >= 0).sum()),
            missing=int((gone < 0).sum()),
        )

    def forget_removed_vectors(self) -> BoolMask:
        """Give up the release's vectors of items that were deleted or have another vector now, for good.

        Returns:
            Which items of the release can still be found by its vectors; shape [items]. No other item ever will be,
            even if it returns with the same vector.
        """
        with self._writer:
            replacement_row = self._snapshot.replacement_row
            if replacement_row is not None:
                self._keeps_vector = self._keeps_vector & (replacement_row >= 0)
            return self._keeps_vector

    def replace_delta(self, before: Snapshot, compacted: Delta) -> None:
        """Publish a compacted delta, with the changes made meanwhile on top. Earlier snapshots stay as they are.

        Args:
            before: The snapshot that was compacted.
            compacted: Its live rows.
        """
        with self._writer:
            self._snapshot = _compacted(self._snapshot, before, compacted)

    def _has_own_vector(self, origin: RowIndices, vectors: Float32Array) -> BoolMask:
        """Return which items have another vector than their origin."""
        has_own_vector = np.ones(len(origin), dtype=np.bool_)
        known = np.flatnonzero((origin >= 0) & self._keeps_vector[origin])
        if self._release_vectors is not None and len(known):
            differences = np.abs(self._release_vectors(origin[known]) - vectors[known])
            has_own_vector[known] = (differences > _MAX_DIFFERENCE).any(axis=1)
        return has_own_vector


def _changed(snapshot: Snapshot, delta: Delta, removed: RowIndices) -> Snapshot:
    is_live = np.concatenate([snapshot.is_live, np.ones(len(delta) - len(snapshot.delta), dtype=np.bool_)])
    is_live[removed[removed >= 0]] = False
    return Snapshot(snapshot.version + 1, snapshot.base, delta, is_live)


def _compacted(snapshot: Snapshot, before: Snapshot, compacted: Delta) -> Snapshot:
    """Return ``snapshot`` with the delta of ``before`` replaced by a compacted one, followed by later rows."""
    base, first_later = len(snapshot.base), len(before.delta)
    delta, is_live = snapshot.delta, snapshot.delta_is_live
    later = first_later + np.flatnonzero(is_live[first_later:])
    items = [delta.items[row] for row in later.tolist()]
    if items:
        compacted = compacted.extended(items, delta.vectors[later], delta.origin[later], delta.has_own_vector[later])
    still_live = is_live[:first_later][before.delta_is_live]
    rows = np.concatenate([snapshot.is_live[:base], still_live, np.ones(len(later), dtype=np.bool_)])
    return Snapshot(snapshot.version + 1, snapshot.base, compacted, rows)

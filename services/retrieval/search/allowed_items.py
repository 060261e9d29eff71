"""The items that a request may be answered with: live, passing the filter, not excluded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from common.arrays import BoolMask, RowIndices
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.snapshot import Snapshot


class CombinedMasks(NamedTuple):
    """What is allowed of release and delta, numbered one after the other.

    Attributes:
        vectors: Which vectors may be found; shape [vectors of the release + items of the delta].
        items: Which items may be found by their vectors; shape [items of the release + items of the delta].
    """

    vectors: BoolMask
    items: BoolMask


@dataclass(frozen=True, eq=False)
class AllowedItems:
    """The items allowed in one snapshot.

    Attributes:
        snapshot: Whose rows are meant.
        rows: Which rows are allowed; shape [rows].
        release_items: Which items of the release have an allowed row and are found by the release's vectors, shape
            [items of the release]; None for all.
        release_vectors: Which of the release's vectors have such an item, shape [vectors]; None for all.
        vector_count: The number of the release's vectors.
        count: How many items are allowed.
        one_per_text: Whether searches of vectors return only one item of each text.
    """

    snapshot: Snapshot
    rows: BoolMask
    release_items: BoolMask | None
    release_vectors: BoolMask | None
    vector_count: int
    count: int
    one_per_text: bool = False

    @cached_property
    def delta_rows(self) -> BoolMask:
        """Which rows of the delta are allowed and have a vector of their own; shape [items of the delta]."""
        return self.rows[len(self.snapshot.base) :] & self.snapshot.delta.has_own_vector

    @cached_property
    def combined(self) -> CombinedMasks:
        """What is allowed of release and delta together."""
        vectors, items = self.release_vectors, self.release_items
        vectors = np.ones(self.vector_count, dtype=np.bool_) if vectors is None else vectors
        items = np.ones(len(self.snapshot.base), dtype=np.bool_) if items is None else items
        return CombinedMasks(np.concatenate([vectors, self.delta_rows]), np.concatenate([items, self.delta_rows]))

    def without(self, rows: RowIndices, vectors: ItemVectors) -> AllowedItems:
        """Return the same without ``rows``."""
        excluded = np.unique(rows[self.rows[rows]])
        if not len(excluded):
            return self
        mask = self.rows.copy()
        mask[excluded] = False
        items = self.snapshot.vector_origin_of(excluded)
        items = items[items >= 0]
        release_items, release_vectors = self.release_items, self.release_vectors
        if len(items):
            base = len(self.snapshot.base)
            release_items = np.ones(base, dtype=np.bool_) if release_items is None else release_items.copy()
            release_vectors = (
                np.ones(vectors.count, dtype=np.bool_) if release_vectors is None else release_vectors.copy()
            )
            release_items[items] = False
            touched = np.unique(vectors.vector_of_item[items])
            release_vectors[touched] = vectors.have_items(touched, release_items)
        count = self.count - len(excluded)
        return AllowedItems(
            self.snapshot, mask, release_items, release_vectors, self.vector_count, count, self.one_per_text
        )

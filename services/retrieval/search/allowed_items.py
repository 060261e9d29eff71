"""Which items a request may be answered with: alive, passing the filter, not excluded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from common.arrays import BoolMask, RowIndices
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.snapshot import Snapshot


class CombinedMasks(NamedTuple):
    """What of a release and of the items added to it is allowed, by one numbering of both.

    Attributes:
        vectors: Which vectors may be found, the release's before the added items'; shape [vectors + added items].
        items: Which items may be found by these, each by its own; shape [items of the release + added items].
    """

    vectors: BoolMask
    items: BoolMask


@dataclass(frozen=True, eq=False)
class AllowedItems:
    """The items allowed in one view.

    Attributes:
        view: The view whose rows are meant.
        rows: Which rows are allowed; shape [rows].
        released: Which items of the release stand for an allowed row and are found by the release's vectors; None where
            every one does. Shape [items of the release].
        vectors: Which of the release's vectors have such an item, shape [vectors]; None where every one has.
        count: How many items are allowed.
    """

    view: Snapshot
    rows: BoolMask
    released: BoolMask | None
    vectors: BoolMask | None
    count: int

    @cached_property
    def added(self) -> BoolMask:
        """Which added items are allowed, of those with a vector of their own; shape [added items]."""
        return self.rows[len(self.view.base) :] & self.view.added.own

    @cached_property
    def joined(self) -> CombinedMasks:
        """What is allowed where the added items' own vectors are numbered behind the release's."""
        view = self.view
        vectors = np.ones(view.added.graph.released, dtype=np.bool_) if self.vectors is None else self.vectors
        released = np.ones(len(view.base), dtype=np.bool_) if self.released is None else self.released
        return CombinedMasks(np.concatenate([vectors, self.added]), np.concatenate([released, self.added]))

    def without(self, rows: RowIndices, vectors: ItemVectors) -> AllowedItems:
        """Return the same without ``rows``."""
        gone = np.unique(rows[self.rows[rows]])
        if not len(gone):
            return self
        mask = self.rows.copy()
        mask[gone] = False
        of_release = self.view.released(gone)
        of_release = of_release[of_release >= 0]
        released, allowed = self.released, self.vectors
        if len(of_release):
            released = np.ones(len(self.view.base), dtype=np.bool_) if released is None else released.copy()
            allowed = np.ones(vectors.count, dtype=np.bool_) if allowed is None else allowed.copy()
            released[of_release] = False
            touched = np.unique(vectors.vector_of_item[of_release])
            allowed[touched] = vectors.have_items(touched, released)
        return AllowedItems(self.view, mask, released, allowed, self.count - len(gone))

"""Which candidates are of the long tail."""

from __future__ import annotations

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.long_tail import tail_below
from services.retrieval.catalogue.snapshot import CatalogueView


class Tail:
    """The release's items that sold less than its median item, and, unless that sold nothing, those that came since.

    Args:
        popularity: How much each item of the release is wanted; shape [items].
    """

    def __init__(self, popularity: Float32Array) -> None:
        below = tail_below(popularity)
        self._released = popularity < below
        self._added = below > 0

    def of(self, view: CatalogueView, rows: RowIndices) -> BoolMask:
        """Return which of a view's items are of the tail; shape [rows]."""
        origin = view.origin_of(rows)
        found = np.full(len(rows), self._added)
        found[origin >= 0] = self._released[origin[origin >= 0]]
        return found

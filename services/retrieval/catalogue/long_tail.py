"""Which candidates are of the long tail."""

from __future__ import annotations

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.long_tail import long_tail_threshold
from services.retrieval.catalogue.snapshot import Snapshot


class LongTail:
    """The release's items that sold less than its median item, and, unless that sold nothing, those that came since.

    Args:
        popularity: How much each item of the release is wanted; shape [items].
    """

    def __init__(self, popularity: Float32Array) -> None:
        below = long_tail_threshold(popularity)
        self._released = popularity < below
        self._added = below > 0

    def contains(self, snapshot: Snapshot, rows: RowIndices) -> BoolMask:
        """Return which of a snapshot's items are of the tail; shape [rows]."""
        origin = snapshot.origin_of(rows)
        found = np.full(len(rows), self._added)
        found[origin >= 0] = self._released[origin[origin >= 0]]
        return found

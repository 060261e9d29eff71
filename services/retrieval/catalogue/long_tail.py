"""Knows which items belong to the long tail."""

from __future__ import annotations

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.long_tail import long_tail_threshold
from services.retrieval.catalogue.snapshot import Snapshot


class LongTail:
    """Items that are less popular than the median of those bought, and added items; none if nobody bought any.

    Args:
        popularity: The popularity of each item of the release; shape [items].
    """

    def __init__(self, popularity: Float32Array) -> None:
        below = long_tail_threshold(popularity)
        self._released = popularity < below
        self._added = below > 0

    def contains(self, snapshot: Snapshot, rows: RowIndices) -> BoolMask:
        """Return which of ``rows`` belong to the long tail; shape [rows]."""
        origin = snapshot.origin_of(rows)
        is_long_tail = np.full(len(rows), self._added)
        is_long_tail[origin >= 0] = self._released[origin[origin >= 0]]
        return is_long_tail

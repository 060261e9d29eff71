"""The vectors of an index: rows of one table, and which of them are live."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from common.cache import IdentityCache
from common.release.layout import VECTORS
from services.retrieval.index.concatenated_vectors import Table

REMOVED: Final = "index/removed.npy"
# Masks whose selection is cached: most searches at a time share one.
_CACHED_MASKS: Final = 4


@dataclass(frozen=True, eq=False)
class Selection:
    """Labels that a search may find.

    Attributes:
        mask: Which rows of the table; shape [rows]. None for all.
        count: How many.
    """

    mask: BoolMask | None
    count: int


class VectorStorage:
    """Vectors by label, the label of each being its row.

    The table given is copied at the first change (copy-on-write), and grows by half at a time afterwards. Rows between
    the last label and the end of the table are reserve. Any number of threads may read while nobody writes: the index
    that owns the storage holds the lock.

    Args:
        vectors: Unit vectors, may be memory-mapped; shape [rows, dimension].
        removed: Labels that are not live.
    """

    def __init__(self, vectors: Table, removed: RowIndices | None = None) -> None:
        self._table = vectors
        self._is_copied = False
        self._is_live = np.ones(len(vectors), dtype=np.bool_)
        if removed is not None:
            self._is_live[removed] = False
        self._end = len(vectors)  # later rows are reserve
        self._update_count()

    @classmethod
    def load(cls, folder: Path) -> VectorStorage:
        """Map the vectors of the release in ``folder``."""
        removed = np.load(folder / REMOVED) if (folder / REMOVED).exists() else None
        return cls(np.asarray(np.load(folder / VECTORS, mmap_mode="r")), removed)

    def save(self, folder: Path) -> None:
        """Write the vectors into a release's folder, and the labels of removed ones if there are any."""
        (folder / VECTORS).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / VECTORS, np.asarray(self._table)[: self._end])
        if self._count < self._end:
            np.save(folder / REMOVED, np.flatnonzero(~self._is_live[: self._end]))

    @property
    def table(self) -> Table:
        """Every vector, removed and reserved rows included; shape [rows, dimension]."""
        return self._table

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return int(self._table.shape[1])

    @property
    def row_count(self) -> int:
        """Rows of the table, removed and reserved ones included."""
        return len(self._is_live)

    def __len__(self) -> int:
        return self._count

    @property
    def removed_labels(self) -> RowIndices:
        """Rows of the table that are not live."""
        return np.flatnonzero(~self._is_live)

    def select(self, allowed: BoolMask | None) -> Selection:
        """Return the live labels that ``allowed`` has; cached for the last few masks, which must not change."""
        return self._all_live if allowed is None else self._selections.get_or_make(allowed, self._intersect)

    def is_live(self, labels: RowIndices) -> BoolMask:
        """Return which labels can be found; shape [labels]."""
        known = labels < self.row_count
        return known & self._is_live[np.where(known, labels, 0)] if self.row_count else known

    def vectors_of(self, labels: RowIndices) -> Float32Array:
        """Return the vectors of labels; shape [labels, dimension]."""
        vectors: Float32Array = self._table[labels]
        return vectors

    def put(self, labels: RowIndices, vectors: Float32Array) -> None:
        """Add or replace vectors; shapes [n], at least 1, and [n, dimension]."""
        self._end = max(self._end, int(labels.max()) + 1)
        self._writable(self._end)[labels] = vectors
        self._is_live[labels] = True
        self._update_count()

    def remove(self, labels: RowIndices) -> None:
        """Make labels not live; unknown ones are ignored."""
        self._is_live[labels[self.is_live(labels)]] = False
        self._update_count()

    def _update_count(self) -> None:
        self._count = int(np.count_nonzero(self._is_live))
        self._all_live = Selection(None if self._count == self.row_count else self._is_live.copy(), self._count)
        self._selections: IdentityCache[BoolMask, Selection] = IdentityCache(_CACHED_MASKS)

    def _intersect(self, allowed: BoolMask) -> Selection:
        mask = np.zeros(self.row_count, dtype=np.bool_)
        known = min(self.row_count, len(allowed))
        np.logical_and(self._is_live[:known], allowed[:known], out=mask[:known])
        count = int(np.count_nonzero(mask))
        return Selection(mask, count) if count < self.row_count else Selection(None, count)

    def _writable(self, rows: int) -> Float32Array:
        """Return the table as a copy of our own with at least ``rows``; grows by half, so that adding is linear."""
        missing = max(rows - self.row_count, self.row_count // 2) if rows > self.row_count else 0
        if missing or not self._is_copied:
            reserve = np.zeros((missing, self.dimension), dtype=np.float32)
            self._table = np.concatenate([self._table, reserve])
            self._is_live = np.concatenate([self._is_live, np.zeros(missing, dtype=np.bool_)])
            self._is_copied = True
        return np.asarray(self._table)

"""The label of each entry of an index that cannot remove entries.

faiss's fast scan neither removes nor replaces, and takes no selector (`IndexIDMap2` adds labels only). So an entry
without a label is a tombstone: it is still scanned, and what it finds is dropped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.arrays import BoolMask, RowIndices


class LabelMap:
    """Labels by entry. Any number of threads may read it while nobody changes it.

    Args:
        labels: Each entry's label, -1 if it was removed or replaced; shape [entries].
    """

    def __init__(self, labels: npt.NDArray[np.int32] | None = None) -> None:
        self._labels = np.empty(0, dtype=np.int32) if labels is None else labels
        self._max_label = int(self._labels.max(initial=-1))
        self._count_live()

    @classmethod
    def load(cls, file: Path, entries: int) -> LabelMap:
        """Read what `save` wrote for an index of ``entries``."""
        return cls(np.load(file) if file.exists() else np.arange(entries, dtype=np.int32))

    def save(self, file: Path) -> None:
        """Write the labels; no file is written if each entry's label is its position."""
        file.unlink(missing_ok=True)
        if not np.array_equal(self._labels, np.arange(len(self._labels))):
            np.save(file, self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def is_live(self) -> BoolMask | None:
        """Which entries have a label, shape [entries]; None if all have one."""
        return None if self.live_count == len(self) else self._labels >= 0

    def labels_of(self, entries: RowIndices) -> RowIndices:
        """Return the labels of entries, -1 for a tombstone and for an entry of -1."""
        labels = self._labels[entries].astype(np.int64)
        labels[entries < 0] = -1
        return labels

    def append(self, labels: RowIndices) -> None:
        """Add entries at the end; earlier entries of the same labels become tombstones, also among the new ones."""
        self.remove(labels)
        added = np.full(len(labels), -1, dtype=np.int32)
        last = len(labels) - 1 - np.unique(labels[::-1], return_index=True)[1]
        added[last] = labels[last]
        self._labels = np.concatenate([self._labels, added])
        self._max_label = max(self._max_label, int(labels.max(initial=-1)))
        self._count_live()

    def remove(self, labels: RowIndices) -> None:
        """Turn the entries of labels into tombstones."""
        if not len(labels) or labels.min() > self._max_label:  # spares a pass over all entries
            return
        removed = np.isin(self._labels, labels)
        if removed.any():
            self._labels = np.where(removed, np.int32(-1), self._labels)
            self._count_live()

    def _count_live(self) -> None:
        self.live_count = int(np.count_nonzero(self._labels >= 0))

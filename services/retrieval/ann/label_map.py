"""Which label stands at each place of an index that only ever grows: removing and replacing leave places behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.arrays import BoolMask, RowIndices


class LabelMap:
    """Labels by place. Read by any number of threads; changed by one while nobody reads.

    Args:
        labels: The label of each place, -1 where it was removed or replaced; shape [places].
    """

    def __init__(self, labels: npt.NDArray[np.int32] | None = None) -> None:
        self._labels = np.empty(0, dtype=np.int32) if labels is None else labels
        self._highest = int(self._labels.max(initial=-1))  # of any label so far
        self._count()

    @classmethod
    def load(cls, file: Path, places: int) -> LabelMap:
        """Read what `save` wrote for an index of so many places."""
        return cls(np.load(file) if file.exists() else np.arange(places, dtype=np.int32))

    def save(self, file: Path) -> None:
        """Write them; no file stands for every place's label being its own number."""
        file.unlink(missing_ok=True)
        if not np.array_equal(self._labels, np.arange(len(self._labels))):
            np.save(file, self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def there(self) -> BoolMask | None:
        """Which places have a label; shape [places], None for all."""
        return None if self.count == len(self) else self._labels >= 0

    def of(self, places: RowIndices) -> RowIndices:
        """Return the labels at places, -1 for none and for a place of -1."""
        labels = self._labels[places].astype(np.int64)
        labels[places < 0] = -1
        return labels

    def append(self, labels: RowIndices) -> None:
        """Put labels at the end, the last place for one that is given twice; those there before are replaced."""
        self.forget(labels)
        added = np.full(len(labels), -1, dtype=np.int32)
        last = len(labels) - 1 - np.unique(labels[::-1], return_index=True)[1]
        added[last] = labels[last]
        self._labels = np.concatenate([self._labels, added])
        self._highest = max(self._highest, int(labels.max(initial=-1)))
        self._count()

    def forget(self, labels: RowIndices) -> None:
        """Leave the places of labels behind."""
        if not len(labels) or labels.min() > self._highest:  # else all places are gone through
            return
        gone = np.isin(self._labels, labels)
        if gone.any():
            self._labels = np.where(gone, np.int32(-1), self._labels)
            self._count()

    def _count(self) -> None:
        self.count = int(np.count_nonzero(self._labels >= 0))

"""An array that grows at its end, while earlier views of it stay as they are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

_MIN_CAPACITY: Final = 64


class GrowableArray:
    """Rows appended by one writer. A view never changes, because new rows come after its end.

    The capacity doubles when it is used up, so appending costs constant time per row on average.

    Args:
        dtype: The rows' number type.
        width: Numbers per row; none if a row is a single number.
    """

    def __init__(self, dtype: type[np.generic], *width: int) -> None:
        self._buffer: np.ndarray[Any, Any] = np.empty((_MIN_CAPACITY, *width), dtype=dtype)
        self._count = 0

    @property
    def rows(self) -> np.ndarray[Any, Any]:
        """A view of the rows so far."""
        return self._buffer[: self._count]

    def append(self, rows: np.ndarray[Any, Any]) -> None:
        """Append rows."""
        count = self._count + len(rows)
        if count > len(self._buffer):
            capacity = max(count, 2 * len(self._buffer))
            buffer = np.empty((capacity, *self._buffer.shape[1:]), dtype=self._buffer.dtype)
            buffer[: self._count] = self.rows
            self._buffer = buffer
        self._buffer[self._count : count] = rows
        self._count = count

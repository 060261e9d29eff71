"""An array that grows at its end, while earlier views of it stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

_FIRST_ROWS = 64


class GrowableArray:
    """Rows appended by one writer. A view taken never changes: what is appended lies behind its end.

    Room doubles when it runs out, so that appending costs a constant per row on average.

    Args:
        kind: The rows' number type.
        width: Numbers a row; none for rows that are single numbers.
    """

    def __init__(self, kind: type[np.generic], *width: int) -> None:
        self._room: np.ndarray[Any, Any] = np.empty((_FIRST_ROWS, *width), dtype=kind)
        self._count = 0

    @property
    def rows(self) -> np.ndarray[Any, Any]:
        """A view of the rows so far."""
        return self._room[: self._count]

    def append(self, rows: np.ndarray[Any, Any]) -> None:
        """Put rows at the end."""
        count = self._count + len(rows)
        if count > len(self._room):
            room = np.empty((max(count, 2 * len(self._room)), *self._room.shape[1:]), dtype=self._room.dtype)
            room[: self._count] = self.rows
            self._room = room
        self._room[self._count : count] = rows
        self._count = count

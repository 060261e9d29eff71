"""How long work takes that grows with its rows, learnt while it is done."""

from __future__ import annotations

from typing import Final

_KEPT: Final = 0.9
# Work on few rows takes about as long as on this many.
_LEAST_ROWS: Final = 50


class Pace:
    """Seconds by rows, smoothed over the last ten times or so. Races between threads lose a sample at worst."""

    def __init__(self) -> None:
        self._rows = 0.0
        self._seconds = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """Take note that work on so many rows took so long."""
        self._rows = _KEPT * self._rows + max(rows, _LEAST_ROWS)
        self._seconds = _KEPT * self._seconds + seconds

    def expected_s(self, rows: int) -> float:
        """Return how long work on so many rows may take; 0 before the first time."""
        return max(rows, _LEAST_ROWS) * self._seconds / self._rows if self._rows else 0.0

"""Estimates of how long work takes, and of how late it tends to end."""

from __future__ import annotations

from typing import Final

# A spell of lateness is half forgotten after so many calls.
_HALF_LIFE: Final = 32
_KEPT: Final = 0.5 ** (1 / _HALF_LIFE)


class LatenessReserve:
    """The longest that something took of late: at once when it takes longer, slowly less when it does not again.

    Being late is worse than being early, so the largest value counts and not the mean. Everything that was answered
    must be observed, however little of it was read, or a reserve that leaves no time for reading would never shrink.
    Races between threads lose a sample at worst.

    Args:
        at_first: What to keep back before anything was observed, in seconds.
    """

    def __init__(self, at_first: float = 0.0) -> None:
        self.seconds = at_first

    def observe(self, seconds: float) -> None:
        """Take note of what it took this time."""
        self.seconds = max(seconds, self.seconds * _KEPT)


# What is kept of the rows and seconds before at each new observation.
_SMOOTHING: Final = 0.9
# Work on few rows takes about as long as on this many.
_LEAST_ROWS: Final = 50


class LatencyEstimate:
    """Seconds by rows, smoothed over the last ten times or so. Races between threads lose a sample at worst."""

    def __init__(self) -> None:
        self._rows = 0.0
        self._seconds = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """Take note that work on so many rows took so long."""
        self._rows = _SMOOTHING * self._rows + max(rows, _LEAST_ROWS)
        self._seconds = _SMOOTHING * self._seconds + seconds

    def expected_s(self, rows: int) -> float:
        """Return how long work on so many rows may take; 0 before the first time."""
        return max(rows, _LEAST_ROWS) * self._seconds / self._rows if self._rows else 0.0

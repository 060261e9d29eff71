"""Estimates of how long work takes, and of how late it ends."""

from __future__ import annotations

from typing import Final

# The reserve halves in this many observations.
_HALF_LIFE: Final = 32
_DECAY: Final = 0.5 ** (1 / _HALF_LIFE)


class LatenessReserve:
    """The recent maximum of a time: it rises at once with a longer time and decays slowly.

    Being late is worse than being early, so the maximum counts and not the mean. Every call must be observed, even if
    it did no work for lack of time: otherwise a reserve that leaves no time for work would never shrink. Races between
    threads lose a sample at worst.

    Args:
        initial_s: The reserve before the first observation, in seconds.

    Attributes:
        seconds: The reserve.
    """

    def __init__(self, initial_s: float = 0.0) -> None:
        self.seconds = initial_s

    def observe(self, seconds: float) -> None:
        """Add one observation; below 0 if it was early."""
        self.seconds = max(seconds, self.seconds * _DECAY)


# The weight of earlier observations falls by this factor with each new one.
_SMOOTHING: Final = 0.9
# Work on fewer rows takes about as long as on this many.
_MIN_ROWS: Final = 50


class LatencyEstimate:
    """How long work takes by its rows, smoothed over about ten observations.

    Races between threads lose a sample at worst.
    """

    def __init__(self) -> None:
        self._rows = 0.0
        self._seconds = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """Add one observation."""
        self._rows = _SMOOTHING * self._rows + max(rows, _MIN_ROWS)
        self._seconds = _SMOOTHING * self._seconds + seconds

    def expected_s(self, rows: int) -> float:
        """Return how long work on ``rows`` rows takes; 0 before the first observation."""
        return max(rows, _MIN_ROWS) * self._seconds / self._rows if self._rows else 0.0

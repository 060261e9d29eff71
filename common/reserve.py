"""How much time to keep back for what comes after, learnt from what it took."""

from __future__ import annotations

from typing import Final

# A spell of lateness is half forgotten after so many calls.
_HALF_LIFE: Final = 32
_KEPT: Final = 0.5 ** (1 / _HALF_LIFE)


class Reserve:
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

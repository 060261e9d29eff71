"""How many tokens a batch may have after the GPU ran out of memory."""

from __future__ import annotations

from typing import Final

# Long enough that batches which do not fit fail rarely, short enough that a passing shortage is soon forgotten.
HOLD_S: Final = 60.0


class MemoryBudget:
    """The bound of a batch's tokens: half of what did not fit, for a while; then it doubles until it is whole again.

    Args:
        padded_tokens: The bound while memory suffices.
    """

    def __init__(self, padded_tokens: int) -> None:
        self._whole = self._now = padded_tokens
        self._until = 0.0

    def tokens(self, now: float) -> int:
        """Return the bound at a time, in seconds of the batcher's clock, which never goes back."""
        while self._now < self._whole and now >= self._until:
            self._now = min(2 * self._now, self._whole)
            self._until += HOLD_S
        return self._now

    def shrink(self, padded_tokens: int, now: float) -> int:
        """Halve the bound because a batch of ``padded_tokens`` did not fit; returns the new bound, at least 1.

        Several workers that fail at a time with batches of one size halve it once.
        """
        self._now = max(min(self.tokens(now), padded_tokens // 2), 1)
        self._until = now + HOLD_S
        return self._now

"""How much of a call's time is left for reading."""

from __future__ import annotations

from typing import Final

# Kept back of a call's time for its way in, which a server does not see (gRPC tells it the time that was left when the
# call was sent), and for the answer's way out: a share, within bounds in seconds. Under load every call is read for as
# long as there is time, and what is not kept back here is missed by many calls at once.
_WAY_SHARE: Final = 0.05


_WAY_BOUNDS_S: Final = (0.002, 0.05)


def less_return_time(remaining_s: float) -> float:
    """Return how many of a call's remaining seconds it may be worked on."""
    least_s, most_s = _WAY_BOUNDS_S
    return remaining_s - min(max(_WAY_SHARE * remaining_s, least_s), most_s)

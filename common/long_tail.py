"""Which items are the long tail: one definition, for what serves a release and for what measures it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def long_tail_threshold(popularity: npt.NDArray[np.floating[Any]]) -> float:
    """Return how popular an item must be to be no longer of the tail: as popular as the release's median item.

    Equal items are alike, so that where most items sold nothing, nothing is of the tail.

    Args:
        popularity: The release's, as its file `behaviour/popularity.npy` has it; [items].
    """
    return float(np.median(popularity)) if len(popularity) else 0.0

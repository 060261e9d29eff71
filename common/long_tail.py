"""The definition of the long tail, for services and pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def long_tail_threshold(popularity: npt.NDArray[np.floating[Any]]) -> float:
    """Return the median popularity: items below it are the long tail.

    Items as popular as the median are not, so if most items were never bought, no item is of the long tail.

    Args:
        popularity: The popularity of a release's items, from `behaviour/popularity.npy`; shape [items].
    """
    return float(np.median(popularity)) if len(popularity) else 0.0

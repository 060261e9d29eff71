"""The definition of the long tail, for services and pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def long_tail_threshold(popularity: npt.NDArray[np.floating[Any]]) -> float:
    """Return the median popularity of the items that were bought: items below it are the long tail.

    Items as popular as the median are not. An item that nobody bought is, unless nobody bought any.

    Args:
        popularity: The popularity of a release's items, from `behaviour/popularity.npy`; shape [items].
    """
    bought = popularity[popularity > 0]
    return float(np.median(bought)) if len(bought) else 0.0

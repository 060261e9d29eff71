"""A test that may be looked at at any time: its error holds for all looks together.

The mixture sequential probability ratio test (mSPRT) with a normal mixture over the effect (Johari et al., "Always
valid inference: continuous monitoring of A/B tests", Operations Research 70, 2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class SequentialDifference:
    """A difference of means with an interval and a p-value that hold at whatever time one looks.

    Attributes:
        difference: The mean of the second sample minus that of the first.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p: The p-value.
    """

    difference: float
    low: float
    high: float
    p: float


def compare_means(first: Floats, second: Floats, effect: float, alpha: float = 0.05) -> SequentialDifference:
    """Compare two independent samples.

    Args:
        first: One value for each user; at least 2.
        second: The same of the other variant.
        effect: The standard deviation of the effects that one expects, above 0. A wrong one costs time, not validity.
        alpha: The probability of ever finding a difference if there is none.
    """
    difference = float(second.mean() - first.mean())
    variance = float(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    if variance == 0.0:
        return SequentialDifference(difference, difference, difference, float(difference == 0.0))
    total = variance + effect**2
    half = math.sqrt(variance * total / effect**2 * (2 * math.log(1 / alpha) + math.log(total / variance)))
    log_ratio = 0.5 * math.log(variance / total) + difference**2 * effect**2 / (2 * variance * total)
    return SequentialDifference(difference, difference - half, difference + half, min(1.0, math.exp(-log_ratio)))

"""How likely users look at each position, from a log of impressions.

Users choose an item only if they look at it, and they look at the first positions most: the position-based model
(Craswell et al., "An experimental comparison of click position-bias models", WSDM 2008). A choice at a position that is
rarely looked at therefore counts for more (Joachims, Swaminathan and Schnabel, "Unbiased learning-to-rank with biased
feedback", WSDM 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

# Choices at a position from which its estimate by random positions is trusted.
_MIN_RANDOM_CHOICES: Final = 30.0
_MIN_EXAMINATION: Final = 0.05  # bounds a choice's weight by 20
_EM_STEPS: Final = 300
_EM_TOLERANCE: Final = 1e-7
# Beta prior of an item's attraction: one impression's worth at the mean rate.
_PRIOR: Final = 1.0


@dataclass(frozen=True)
class PositionBias:
    """How likely each position is looked at, the first being 1.

    Attributes:
        examination: By position from the first; shape [positions], in (0, 1].
        method: `random positions`, `position-based model by EM`, or `none` if nothing was chosen.
    """

    examination: Floats
    method: str

    def weights(self, positions: npt.NDArray[np.integer[Any]]) -> Floats:
        """Return what a choice at each position (from 1) counts: the inverse of its examination."""
        places = np.minimum(positions, len(self.examination)) - 1
        return np.asarray(1.0 / self.examination[places], np.float64)


def estimate_position_bias(slots: pl.DataFrame) -> PositionBias:
    """Estimate the bias: from random positions if they were chosen from often enough, else by EM.

    Args:
        slots: `ImpressionTables.rewarded_slots`.
    """
    positions = int(slots["position"].max() or 0)  # type: ignore[arg-type]  # a column of numbers
    if not slots["reward"].sum():
        return PositionBias(np.ones(max(1, positions)), "none")
    by_random = _from_random_positions(slots, positions)
    if by_random is not None:
        return PositionBias(_relative(by_random), "random positions")
    return PositionBias(_relative(_by_em(slots, positions)), "position-based model by EM")


def _from_random_positions(slots: pl.DataFrame, positions: int) -> Floats | None:
    """Return the rate of choices at each position as if all items of the pool were equally often shown there.

    That rate is examination times the pool's mean attraction, which is the same at each position. None if too few
    choices count at a position.
    """
    drawn = slots.filter(pl.col("propensity").is_not_null() & (pl.col("pool") > 1))
    if drawn.is_empty():
        return None
    place = drawn["position"].to_numpy() - 1
    weight = 1.0 / (drawn["pool"].to_numpy() * drawn["propensity"].to_numpy())
    gained = weight * drawn["reward"].to_numpy()
    total, of_choices = np.bincount(place, weight, positions), np.bincount(place, gained, positions)
    squares = np.bincount(place, gained**2, positions)
    effective = np.divide(of_choices**2, squares, out=np.zeros(positions), where=squares > 0)
    return of_choices / total if effective.min() >= _MIN_RANDOM_CHOICES else None


def _by_em(slots: pl.DataFrame, positions: int) -> Floats:
    """Return each position's examination by the position-based model with one attraction for each item.

    Expectation maximisation as in Wang et al., "Position bias estimation for unbiased learning to rank in personal
    search", WSDM 2018, over counts of item and position.
    """
    counts = slots.group_by("item", "position").agg(pl.len().alias("shown"), pl.col("reward").sum().alias("chosen"))
    item = counts["item"].cast(pl.Categorical).to_physical().to_numpy()
    item = np.unique(item, return_inverse=True)[1]
    place, items = counts["position"].to_numpy() - 1, int(item.max()) + 1
    shown, chosen = counts["shown"].to_numpy().astype(np.float64), counts["chosen"].to_numpy().astype(np.float64)
    passed = shown - chosen
    mean = chosen.sum() / shown.sum()
    examination = 1.0 / np.arange(1, positions + 1) ** 0.5
    attraction = np.full(items, min(0.5, 2 * mean))
    shown_at, shown_of = np.bincount(place, shown, positions), np.bincount(item, shown, items)
    for _ in range(_EM_STEPS):
        theta, gamma = examination[place], attraction[item]
        neither = np.maximum(1.0 - theta * gamma, 1e-12)
        looked = chosen + passed * theta * (1.0 - gamma) / neither
        attracted = chosen + passed * gamma * (1.0 - theta) / neither
        before = examination
        examination = np.bincount(place, looked, positions) / np.maximum(shown_at, 1.0)
        attraction = (np.bincount(item, attracted, items) + _PRIOR * mean) / (shown_of + _PRIOR)
        if np.abs(examination - before).max() < _EM_TOLERANCE:
            break
    return np.asarray(examination, np.float64)


def _relative(examination: Floats) -> Floats:
    return np.clip(examination / max(float(examination[0]), 1e-12), _MIN_EXAMINATION, 1.0)

"""What an item is expected to bring at a position: the position-based model with one attraction for each item.

The model of an answer is fitted on the other half of the users, so that it has not seen the answer's own rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from pipeline.data.impressions.position_bias import PositionBias

# Looks at the mean rate that an item's attraction starts from.
_PRIOR_LOOKS: Final = 20.0


@dataclass(frozen=True)
class RewardModel:
    """Expected rewards by item and position."""

    bias: PositionBias
    attraction: dict[str, float]
    mean: float

    @classmethod
    def fit(cls, slots: pl.DataFrame, bias: PositionBias) -> RewardModel:
        """Fit the attraction of each item.

        Args:
            slots: `ImpressionTables.rewarded_slots`.
            bias: How likely each position is looked at.
        """
        looks = 1.0 / bias.weights(slots["position"].to_numpy())
        seen = slots.with_columns(pl.Series("looks", looks)).group_by("item").agg(pl.col("looks", "reward").sum())
        mean = float(seen["reward"].sum()) / max(float(seen["looks"].sum()), 1e-12)
        smoothed = (pl.col("reward") + _PRIOR_LOOKS * mean) / (pl.col("looks") + _PRIOR_LOOKS)
        return cls(bias, dict(seen.select("item", smoothed).iter_rows()), mean)

    def predict(self, items: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the expected reward of each item of an answer at its position; float64 [items]."""
        attraction = np.array([self.attraction.get(item, self.mean) for item in items], np.float64)
        return attraction / self.bias.weights(np.arange(1, len(items) + 1))


def half_of(user: str) -> int:
    """Return the half that a user belongs to, 0 or 1: the same for the same id."""
    return int.from_bytes(user.encode()[-4:] or b"\0", "big") % 2

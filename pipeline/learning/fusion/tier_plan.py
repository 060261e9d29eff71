"""How deep the second stage's tiers go on each occasion: what a millisecond brought on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TierOption:
    """Depths that a request could be served with.

    Attributes:
        late_interaction: How many candidates late interaction scores.
        cross_encoder: How many the cross-encoder reads.
        ms: What that takes a request, beyond features and fusion.
        gain: What it reaches, such as NDCG@10, by request; NaN where a request tells nothing; float64[requests].
    """

    late_interaction: int
    cross_encoder: int
    ms: float
    gain: npt.NDArray[np.float64]

    @property
    def depths(self) -> dict[str, int]:
        """The depths as `ranker.json` has them."""
        return {"late_interaction": self.late_interaction, "cross_encoder": self.cross_encoder}


def choose_depths(
    options: Sequence[TierOption], occasions: Sequence[str], min_gain_per_ms: float
) -> dict[str, dict[str, int]]:
    """Choose an option for each occasion that validation met.

    From the cheapest option on, the step that brings most a millisecond is taken as long as it brings
    ``min_gain_per_ms``: the upper hull of gain over time.

    Args:
        options: What there is to choose from.
        occasions: Each request's occasion.
        min_gain_per_ms: What a millisecond must bring.
    """
    kinds = _kinds(options, occasions)
    return {kind: _chosen(options, of_kind, min_gain_per_ms).depths for kind, of_kind in kinds.items()}


def plan_report(options: Sequence[TierOption], occasions: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return what every option took and reached on each occasion, for the release's metrics."""
    return {
        kind: [{**one.depths, "ms": one.ms, "ndcg@10": float(np.nanmean(one.gain[of_kind]))} for one in options]
        for kind, of_kind in _kinds(options, occasions).items()
    }


def _kinds(options: Sequence[TierOption], occasions: Sequence[str]) -> Mapping[str, npt.NDArray[np.bool_]]:
    """Return which requests that tell something are of each occasion."""
    kinds, tells = np.array(occasions), np.isfinite(options[0].gain)
    return {str(kind): tells & (kinds == kind) for kind in np.unique(kinds[tells])}


def _chosen(options: Sequence[TierOption], of_kind: npt.NDArray[np.bool_], least: float) -> TierOption:
    gains = [float(one.gain[of_kind].mean()) for one in options]
    chosen = min(range(len(options)), key=lambda place: options[place].ms)
    while dearer := [place for place, one in enumerate(options) if one.ms > options[chosen].ms]:
        rates = [(gains[place] - gains[chosen]) / (options[place].ms - options[chosen].ms) for place in dearer]
        best = int(np.argmax(rates))
        if rates[best] < least:
            break
        chosen = dearer[best]
    return options[chosen]

"""Depths of the second stage's tiers for each kind of request, by validation gain per millisecond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TierOption:
    """Candidate depths of the tiers.

    Attributes:
        late_interaction: Candidates that late interaction scores.
        cross_encoder: Candidates that the cross-encoder scores.
        ms: Milliseconds of a request, without features and fusion.
        gain: Quality by request, such as NDCG@10; NaN if a request has no relevant item; float64[requests].
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
    """Choose an option for each kind of request in validation.

    Starting from the cheapest option, the step with the highest gain per millisecond is taken as long as it reaches
    ``min_gain_per_ms``: the upper hull of gain over time.

    Args:
        options: The options.
        occasions: Kind of each request.
        min_gain_per_ms: Minimum gain per millisecond.
    """
    kinds = _kinds(options, occasions)
    return {kind: _chosen(options, of_kind, min_gain_per_ms).depths for kind, of_kind in kinds.items()}


def plan_report(options: Sequence[TierOption], occasions: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return time and quality of every option for each kind of request, for the release's metrics."""
    return {
        kind: [{**one.depths, "ms": one.ms, "ndcg@10": float(np.nanmean(one.gain[of_kind]))} for one in options]
        for kind, of_kind in _kinds(options, occasions).items()
    }


def _kinds(options: Sequence[TierOption], occasions: Sequence[str]) -> Mapping[str, npt.NDArray[np.bool_]]:
    """Return the requests of each kind that have a quality."""
    kinds, measured = np.array(occasions), np.isfinite(options[0].gain)
    return {str(kind): measured & (kinds == kind) for kind in np.unique(kinds[measured])}


def _chosen(options: Sequence[TierOption], of_kind: npt.NDArray[np.bool_], least: float) -> TierOption:
    gains = [float(one.gain[of_kind].mean()) for one in options]
    chosen = min(range(len(options)), key=lambda place: options[place].ms)
    while slower := [place for place, one in enumerate(options) if one.ms > options[chosen].ms]:
        rates = [(gains[place] - gains[chosen]) / (options[place].ms - options[chosen].ms) for place in slower]
        best = int(np.argmax(rates))
        if rates[best] < least:
            break
        chosen = slower[best]
    return options[chosen]

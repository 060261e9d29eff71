"""Depths of the second stage's tiers for each kind of request, by validation gain per millisecond."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from common.arrays import Float64Array
from services.ranking.release_settings import Occasion

OCCASIONS: Final[tuple[str, ...]] = get_args(Occasion)
# A gain must be above zero with this one-sided confidence for a tier to be planned.
PLANNED_CONFIDENCE: Final = 0.95
MIN_REQUESTS: Final = 8
"""Of fewer requests, no gain is believed: the interval of a mean of bounded values needs a few of them."""


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


def lower_bound(differences: Float64Array, confidence: float = PLANNED_CONFIDENCE) -> float:
    """Return the one-sided lower confidence bound of a mean of paired differences (Student's t); -inf of too few."""
    if len(differences) < MIN_REQUESTS:
        return -np.inf
    error = float(differences.std(ddof=1)) / np.sqrt(len(differences))
    return float(differences.mean() - student.ppf(confidence, len(differences) - 1) * error)


def choose_depths(
    options: Sequence[TierOption], occasions: Sequence[str], min_gain_per_ms: float
) -> dict[str, dict[str, int]]:
    """Choose an option for every occasion.

    Starting from the cheapest option, the step with the highest gain per millisecond is taken, as long as it reaches
    ``min_gain_per_ms`` and the lower confidence bound of its gain, paired by request, is above zero. An occasion that
    validation lacks gets the cheapest option: nothing shows that more would pay.

    Args:
        options: The options.
        occasions: Occasion of each request.
        min_gain_per_ms: Minimum gain per millisecond.
    """
    kinds = _kinds(options, occasions)
    cheapest = dict.fromkeys(OCCASIONS, min(options, key=lambda one: one.ms).depths)
    return cheapest | {kind: _chosen(options, of_kind, min_gain_per_ms).depths for kind, of_kind in kinds.items()}


def gaining_occasions(options: Sequence[TierOption], occasions: Sequence[str], confidence: float) -> dict[str, float]:
    """Return the occasions in which some option gains over the cheapest, and the mean gain.

    Args:
        options: The options.
        occasions: Occasion of each request.
        confidence: Of all occasions together, one-sided. Each alone needs more: out of five occasions without a gain,
            at .84 each, one gains by chance more often than not (Bonferroni's bound).
    """
    cheapest, gains = min(options, key=lambda one: one.ms), {}
    kinds = _kinds(options, occasions)
    for kind, of_kind in kinds.items():
        differences = [(one.gain - cheapest.gain)[of_kind] for one in options if one is not cheapest]
        best = max((one for one in differences), key=lambda one: float(one.mean()), default=np.zeros(0))
        if lower_bound(best, 1 - (1 - confidence) / len(kinds)) > 0:
            gains[kind] = float(best.mean())
    return gains


def unused_tiers(plan: Mapping[str, Mapping[str, int]], tiers: Collection[str]) -> list[str]:
    """Return which of the tiers, by their names in a plan, have depth 0 on every occasion."""
    return [tier for tier in sorted(tiers) if not any(depths.get(tier, 0) for depths in plan.values())]


def plan_report(options: Sequence[TierOption], occasions: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return time and quality of every option for each kind of request, for the release's metrics."""
    cheapest = min(options, key=lambda one: one.ms)
    return {
        kind: [
            {
                **one.depths,
                "ms": one.ms,
                "ndcg@10": float(np.nanmean(one.gain[of_kind])),
                "requests": int(of_kind.sum()),
                "lower bound of the gain": _finite(lower_bound((one.gain - cheapest.gain)[of_kind])),
            }
            for one in options
        ]
        for kind, of_kind in _kinds(options, occasions).items()
    }


def _finite(bound: float) -> float | None:
    return bound if np.isfinite(bound) else None


def _kinds(options: Sequence[TierOption], occasions: Sequence[str]) -> Mapping[str, npt.NDArray[np.bool_]]:
    """Return the requests of each kind that have a quality."""
    kinds, measured = np.array(occasions), np.isfinite(options[0].gain)
    return {str(kind): measured & (kinds == kind) for kind in np.unique(kinds[measured])}


def _chosen(options: Sequence[TierOption], of_kind: npt.NDArray[np.bool_], least: float) -> TierOption:
    chosen = min(options, key=lambda one: one.ms)
    while slower := [one for one in options if one.ms > chosen.ms and _is_gain(one, chosen, of_kind)]:
        rates = [_gain(one, chosen, of_kind) / (one.ms - chosen.ms) for one in slower]
        best = int(np.argmax(rates))
        if rates[best] < least:
            break
        chosen = slower[best]
    return chosen


def _gain(one: TierOption, over: TierOption, of_kind: npt.NDArray[np.bool_]) -> float:
    return float((one.gain - over.gain)[of_kind].mean())


def _is_gain(one: TierOption, over: TierOption, of_kind: npt.NDArray[np.bool_]) -> bool:
    return lower_bound((one.gain - over.gain)[of_kind]) > 0

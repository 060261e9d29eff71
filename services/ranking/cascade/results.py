"""The results of a second stage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from services.ranking.cross_encoder.explanation import Explanation
from services.ranking.pairs.pair_scores import PairResult
from services.ranking.release_settings import TierDepths


class Tier(IntEnum):
    """The most expensive part of the second stage that a candidate's probability is computed from."""

    FEATURES = 1
    LATE_INTERACTION = 2
    CROSS_ENCODER = 3


@dataclass(frozen=True)
class RequestedDepths:
    """How many candidates each tier takes at most, as request or server set it; None for the release's own depth."""

    late_interaction: int | None = None
    cross_encoder: int | None = None


@dataclass(frozen=True)
class TierUse:
    """What one tier did for a request.

    Attributes:
        tier: The tier.
        planned: How many candidates request, server or release gave it.
        scored: How many of them it scored; the others were left out for lack of time, or the model failed on them.
    """

    tier: Tier
    planned: int
    scored: int

    @property
    def left_out(self) -> int:
        """How many planned candidates the tier did not score."""
        return max(self.planned - self.scored, 0)


@dataclass(frozen=True)
class Ranking:
    """The probabilities of a request's candidates, and how long the steps took.

    Attributes:
        probability: float32[candidates].
        logit: The cross-encoder's logit, NaN if it did not read the candidate; float32[candidates].
        late_score: Late interaction's score, NaN if it did not score the candidate; float32[candidates].
        planned: How many of the candidates each tier was to score; 0 for a tier that the release does not have.
        pairs: The pairs' scores, and how many were read.
        tokenise_ms: Time of tokenising.
        late_ms: Time of late interaction.
        fuse_ms: Time of features, fusion and calibration.
        total_ms: Time of the whole ranking, waiting included.
        read_at: When the last pair had been read, in seconds of the monotonic clock.
    """

    probability: Float32Array
    logit: Float32Array
    late_score: Float32Array
    planned: TierDepths
    pairs: PairResult
    tokenise_ms: float
    late_ms: float
    fuse_ms: float
    total_ms: float
    read_at: float

    @property
    def tiers(self) -> npt.NDArray[np.int64]:
        """The `Tier` that ranked each candidate; int64[candidates]."""
        return tiers_of(self.logit, self.late_score)

    @property
    def uses(self) -> list[TierUse]:
        """What late interaction and the cross-encoder did, those that were planned for a candidate."""
        planned, scored = self.planned, [int((~np.isnan(one)).sum()) for one in (self.late_score, self.logit)]
        uses = [
            TierUse(Tier.LATE_INTERACTION, planned.late_interaction, scored[0]),
            TierUse(Tier.CROSS_ENCODER, planned.cross_encoder, scored[1]),
        ]
        return [use for use in uses if use.planned]


def tiers_of(logits: Float32Array, late_scores: Float32Array) -> npt.NDArray[np.int64]:
    """Return the `Tier` that ranked each candidate, given its scores, NaN for none; int64[candidates]."""
    late = np.where(np.isnan(late_scores), Tier.FEATURES, Tier.LATE_INTERACTION)
    return np.where(np.isnan(logits), late, Tier.CROSS_ENCODER)


@dataclass(frozen=True)
class ExplainedFeature:
    """A feature's value, and what it adds to the log-odds."""

    name: str
    value: float
    contribution: float


@dataclass(frozen=True)
class ExplainedProbability:
    """What decided a candidate's probability.

    Attributes:
        probability: The candidate's probability.
        tier: The tier that ranked it.
        rank: Its position among all candidates, from 1.
        late_score: Late interaction's score; None if it did not score the candidate.
        log_odds: The log-odds of the probability.
        base_log_odds: The log-odds that the features' contributions are added to.
        explanation: The contributions of words and history items.
        features: The features that the fusion read, ordered by name, without missing ones.
        missing_contribution: The contributions of the missing features together.
    """

    probability: float
    tier: Tier
    rank: int
    late_score: float | None
    log_odds: float
    base_log_odds: float
    explanation: Explanation
    features: list[ExplainedFeature]
    missing_contribution: float

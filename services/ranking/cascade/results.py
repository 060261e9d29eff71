"""What a second stage answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from services.ranking.cross_encoder.explanation import Explanation
from services.ranking.pairs.pair_scores import PairResult


class Tier(IntEnum):
    """The dearest part of the second stage that had a say in a candidate's probability."""

    FEATURES = 1
    LATE_INTERACTION = 2
    CROSS_ENCODER = 3


@dataclass(frozen=True)
class Depths:
    """How many candidates each tier takes at most; None where that is the release's to say."""

    late_interaction: int | None = None
    cross_encoder: int | None = None


@dataclass(frozen=True)
class Ranking:
    """The probabilities of a request's candidates, and what they took.

    Attributes:
        probability: float32[candidates].
        logit: The cross-encoder's, NaN where it did not read the candidate; float32[candidates].
        late_score: Late interaction's, NaN where it did not score the candidate; float32[candidates].
        reading: What became of the pairs.
        tokenise_ms: Tokenising.
        late_ms: Late interaction.
        fuse_ms: Features, fusion and calibration.
        total_ms: All of it, waiting included.
        read_at: When the last pair had been read, in seconds of the monotonic clock.
    """

    probability: Float32Array
    logit: Float32Array
    late_score: Float32Array
    reading: PairResult
    tokenise_ms: float
    late_ms: float
    fuse_ms: float
    total_ms: float
    read_at: float

    @property
    def tiers(self) -> npt.NDArray[np.int64]:
        """Which `Tier` ranked each candidate; int64[candidates]."""
        late = np.where(np.isnan(self.late_score), Tier.FEATURES, Tier.LATE_INTERACTION)
        return np.where(np.isnan(self.logit), late, Tier.CROSS_ENCODER)


@dataclass(frozen=True)
class Explained:
    """Why a candidate has its probability.

    Attributes:
        probability: The candidate's.
        explanation: What moved its logit.
        features: What the fusion read, by name in order, those missing left out.
    """

    probability: float
    explanation: Explanation
    features: dict[str, float]

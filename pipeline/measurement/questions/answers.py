"""Answers of a release, from its engines or from a gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

POPULAR: Final = "popular items"
FIRST: Final = "first stage alone"
BOTH: Final = "two stages"
CROSS_ENCODER: Final = "cross-encoder"
LATE_INTERACTION: Final = "late interaction"
FUSION: Final = "fusion"
# Each mode should beat those before it.
MODES: Final = (POPULAR, FIRST, BOTH)
# Candidates for each item of the answer, as the gateway retrieves them.
CANDIDATES_PER_ITEM: Final = 2


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to one question.

    Attributes:
        item_ids: The items, best first.
        probability: Each item's probability, NaN if it has none; float64 [items].
        source_scores: Each candidate source's score of each item, NaN if the source did not find it; empty if scores
            were not requested. Each float [items].
        ms: Milliseconds by stage.
        degraded: Whether a step failed.
        tier_scores: By model of the second stage, its scores of the candidates or items, on the scale of logits; NaN if
            it did not score one. Each float [candidates].
    """

    item_ids: Sequence[str]
    probability: npt.NDArray[np.float64]
    ms: Mapping[str, float]
    source_scores: Mapping[str, npt.NDArray[np.floating]] = field(default_factory=dict)
    degraded: bool = False
    tier_scores: Mapping[str, npt.NDArray[np.floating]] = field(default_factory=dict)


def tier_scores(
    logit: npt.NDArray[np.floating], late: npt.NDArray[np.floating], probability: npt.NDArray[np.floating]
) -> dict[str, npt.NDArray[np.floating]]:
    """Return each model's scores on the scale of logits."""
    certain = np.finfo(np.float32).eps
    fused = np.clip(np.asarray(probability, np.float64), certain, 1 - certain)
    return {CROSS_ENCODER: logit, LATE_INTERACTION: late, FUSION: np.log(fused / (1 - fused))}


def rankings(answers: Mapping[str, Answer]) -> dict[str, list[str]]:
    """Return item ids by question."""
    return {key: list(answer.item_ids) for key, answer in answers.items()}

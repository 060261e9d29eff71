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
    """

    item_ids: Sequence[str]
    probability: npt.NDArray[np.float64]
    ms: Mapping[str, float]
    source_scores: Mapping[str, npt.NDArray[np.floating]] = field(default_factory=dict)
    degraded: bool = False


def rankings(answers: Mapping[str, Answer]) -> dict[str, list[str]]:
    """Return item ids by question."""
    return {key: list(answer.item_ids) for key, answer in answers.items()}

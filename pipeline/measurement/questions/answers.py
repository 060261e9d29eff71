"""What a release answered, whichever way it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

POPULAR: Final = "popular items"


FIRST: Final = "first stage alone"


BOTH: Final = "two stages"


# In the order of the claim: each must beat the ones before it.
MODES: Final = (POPULAR, FIRST, BOTH)


# Candidates for each item of the answer, as the gateway retrieves them.
CANDIDATES_PER_ITEM: Final = 2


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to one question.

    Attributes:
        item_ids: The items, best first.
        probability: Each item's probability, NaN where there is none; float64 [items].
        source_scores: What each source of the first stage said of each item, NaN where it did not find it; empty
            where that was not asked. Each float [items].
        ms: Milliseconds by stage.
        degraded: Whether something went wrong on the way.
    """

    item_ids: Sequence[str]
    probability: npt.NDArray[np.float64]
    ms: Mapping[str, float]
    source_scores: Mapping[str, npt.NDArray[np.floating]] = field(default_factory=dict)
    degraded: bool = False


def rankings(answers: Mapping[str, Answer]) -> dict[str, list[str]]:
    """Return item ids by question."""
    return {key: list(answer.item_ids) for key, answer in answers.items()}

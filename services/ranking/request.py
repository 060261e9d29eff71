"""What a request asks, in rows of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from common.arrays import FloatArray, RowIndices

# The most candidates that one call may ask to be ranked.
MAX_CANDIDATES: Final = 2_000


@dataclass(frozen=True)
class UserRows:
    """What is known of a user.

    Attributes:
        history: Catalogue rows of what the user bought or looked at, oldest first, repeats kept; shape [events].
        query: What the user searched for; empty for nothing.
    """

    history: RowIndices
    query: str = ""


@dataclass(frozen=True)
class CandidateRows:
    """The candidates of a request.

    Attributes:
        rows: Catalogue rows, -1 for a candidate that is given by its text alone; shape [candidates].
        first_stage_score: The first stage's fused score, NaN where missing; shape [candidates].
        sources: What each source said of each candidate, NaN where it did not find it; each of shape [candidates].
    """

    rows: RowIndices
    first_stage_score: FloatArray
    sources: Mapping[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: RowIndices) -> CandidateRows:
        """Return candidates of which the first stage said nothing."""
        return cls(rows, np.full(len(rows), np.nan, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.rows)

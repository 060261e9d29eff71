"""Where candidates come from. Each source finds items for a user, with a score of its own kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from common.arrays import Float32Array
from services.retrieval.catalogue.scored_items import ScoredItems
from services.retrieval.index.scoring import top_k
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.search.item_search import Path
from services.retrieval.sources.user_context import UserContext


class SourceResult(NamedTuple):
    """What a source drew, and how it searched where it searched vectors."""

    found: ScoredItems
    path: Path | None = None


class Source(Protocol):
    """A way to find candidates."""

    def draw(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """Find at most ``k`` allowed items for each user, best first; nothing for a user it knows nothing of."""
        ...


def best(scores: Float32Array, k: int, allowed: AllowedItems) -> ScoredItems:
    """Return the ``k`` allowed rows with the highest scores above 0."""
    rows = np.flatnonzero((scores > 0) & allowed.rows)
    highest = rows[top_k(scores[rows][np.newaxis], k)[0]]
    return ScoredItems(highest, scores[highest])

"""The port of candidate sources. Each source retrieves items for a user, with a score of its own kind."""

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
    """What a source retrieved for one user.

    Attributes:
        items: The items and their scores, best first.
        path: How the vectors were searched; None if none were.
    """

    items: ScoredItems
    path: Path | None = None


class Source(Protocol):
    """Retrieves candidates."""

    def retrieve(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """Retrieve at most ``k`` allowed items for each user, best first; none for a user it knows nothing about."""
        ...


def top_allowed(scores: Float32Array, k: int, allowed: AllowedItems) -> ScoredItems:
    """Return the ``k`` allowed rows with the highest scores above 0.

    Args:
        scores: One score for each row of the catalogue; shape [rows].
        k: How many rows to return at most.
        allowed: The items that may be returned.
    """
    rows = np.flatnonzero((scores > 0) & allowed.rows)
    highest = rows[top_k(scores[rows][np.newaxis], k)[0]]
    return ScoredItems(highest, scores[highest])

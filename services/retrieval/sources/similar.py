"""Candidates nearest to items of the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems, best_of
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.search.item_search import ItemSearch
from services.retrieval.sources.source import SourceResult
from services.retrieval.sources.user_context import UserContext


@dataclass(frozen=True, eq=False)
class SimilarSource:
    """Items whose text is near one of the history's: one search around each of the most recent distinct items.

    An item's score is its highest cosine, weighed by how long ago the history item was. The history items themselves
    and those that share their text are found too: users buy again.
    """

    nearest: ItemSearch
    recent: int

    def draw(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.draw`."""
        return [self._draw(user, k, allowed) for user in users]

    def _draw(self, user: UserContext, k: int, allowed: AllowedItems) -> SourceResult:
        rows, weights = user.recent(self.recent)
        if not len(rows):
            return SourceResult(NOTHING)
        founds, path = self.nearest.around(rows, k, allowed)
        weighed = [
            ScoredItems(found.rows, found.scores * weight) for found, weight in zip(founds, weights, strict=True)
        ]
        return SourceResult(best_of(weighed, k), path)

"""The source `similar`: items nearest to items of the history."""

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
    """The nearest neighbours of each of the most recent distinct items.

    An item's score is its highest cosine, weighted by the recency of the history item. The history items themselves
    and items with the same text are found too, since users buy again.

    Attributes:
        item_search: Searches the items' vectors.
        recent: How many of the most recent distinct items to search around.
    """

    item_search: ItemSearch
    recent: int

    def retrieve(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.retrieve`."""
        return [self._retrieve_one(user, k, allowed) for user in users]

    def _retrieve_one(self, user: UserContext, k: int, allowed: AllowedItems) -> SourceResult:
        rows, weights = user.recent_items(self.recent)
        if not len(rows):
            return SourceResult(NOTHING)
        results, path = self.item_search.search_around(rows, k, allowed)
        weighted = [
            ScoredItems(items.rows, items.scores * weight) for items, weight in zip(results, weights, strict=True)
        ]
        return SourceResult(best_of(weighted, k), path)

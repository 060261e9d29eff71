"""Sources that need neither vectors nor behaviour: the words of a query, and chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.bm25 import TitleBm25
from services.retrieval.sources.source import SourceResult, best
from services.retrieval.sources.user_context import UserContext


@dataclass(frozen=True, eq=False)
class LexicalSource:
    """Items with the query's words in their titles, by BM25; nothing without a query's text."""

    titles: TitleBm25

    def draw(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.draw`."""
        return [SourceResult(self._draw(user, k, allowed) if user.words else NOTHING) for user in users]

    def _draw(self, user: UserContext, k: int, allowed: AllowedItems) -> ScoredItems:
        added = allowed.view.added
        released = self.titles.of_release(user.words)
        live = self.titles.of_added(user.words, added.shelf.titles, len(added))
        return best(np.concatenate([released, live]), k, allowed)

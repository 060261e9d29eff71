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

    def draw(self, people: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.draw`."""
        return [SourceResult(self._draw(person, k, allowed) if person.words else NOTHING) for person in people]

    def _draw(self, person: UserContext, k: int, allowed: AllowedItems) -> ScoredItems:
        added = allowed.view.added
        released = self.titles.of_release(person.words)
        live = self.titles.of_added(person.words, added.shelf.titles, len(added))
        return best(np.concatenate([released, live]), k, allowed)

"""The source `lexical`: items with the query's words in their titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.bm25 import TitleBm25
from services.retrieval.sources.source import SourceResult, top_allowed
from services.retrieval.sources.user_context import UserContext


@dataclass(frozen=True, eq=False)
class LexicalSource:
    """Items by the BM25 score of their titles; none without a query's text.

    Attributes:
        titles: BM25 over the titles.
    """

    titles: TitleBm25

    def retrieve(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.retrieve`."""
        return [SourceResult(self._retrieve_one(user, k, allowed)) for user in users]

    def _retrieve_one(self, user: UserContext, k: int, allowed: AllowedItems) -> ScoredItems:
        if not user.query_text:
            return NOTHING
        added = allowed.snapshot.delta
        of_release = self.titles.score_release_items(user.query_text)
        of_added = self.titles.score_added_items(user.query_text, added.storage.titles, len(added))
        return top_allowed(np.concatenate([of_release, of_added]), k, allowed)

"""The source `semantic`: items nearest to the query's embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.arrays import Float32Array, stack_vectors, unit_vectors
from services.retrieval.catalogue.scored_items import NOTHING
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.search.item_search import ItemSearch
from services.retrieval.sources.source import SourceResult
from services.retrieval.sources.user_context import UserContext


@dataclass(frozen=True, eq=False)
class SemanticSource:
    """Items whose embeddings are nearest to the query's; without a query, nearest to the history's mean.

    The mean weighs each step of the history by its recency. Scores are cosines.

    Attributes:
        item_search: Searches the items' vectors.
    """

    item_search: ItemSearch

    def retrieve(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.retrieve`; one search for all users, since each search costs some Python."""
        vectors = [self._vector(user, allowed.snapshot) for user in users]
        known = [vector for vector in vectors if vector is not None]
        if not known:
            return [SourceResult(NOTHING)] * len(users)
        results, path = self.item_search.search(stack_vectors(known), k, allowed)
        items = iter(results)
        return [SourceResult(NOTHING) if vector is None else SourceResult(next(items), path) for vector in vectors]

    def _vector(self, user: UserContext, snapshot: Snapshot) -> Float32Array | None:
        return user.query_vector if user.query_vector is not None else self._mean_of_history(user, snapshot)

    def _mean_of_history(self, user: UserContext, snapshot: Snapshot) -> Float32Array | None:
        rows, weights = user.weighted_items
        total: Float32Array = weights @ self.item_search.vectors_of(snapshot, rows)
        return unit_vectors(total) if total.any() else None

"""Candidates nearest to the query's embedding."""

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
    """Items whose text is near the query; without a query, near the user's interest.

    The interest is the mean of the history's vectors, each weighed by how long ago it was. Scores are cosines.
    """

    nearest: ItemSearch

    def draw(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.draw`; one search for all users, since each costs some Python around it."""
        vectors = [self._vector(user, allowed.view) for user in users]
        known = [vector for vector in vectors if vector is not None]
        if not known:
            return [SourceResult(NOTHING)] * len(users)
        founds, path = self.nearest.search(stack_vectors(known), k, allowed)
        found = iter(founds)
        return [SourceResult(NOTHING) if vector is None else SourceResult(next(found), path) for vector in vectors]

    def _vector(self, user: UserContext, view: Snapshot) -> Float32Array | None:
        return user.query if user.query is not None else self._interest(user, view)

    def _interest(self, user: UserContext, view: Snapshot) -> Float32Array | None:
        rows, weights = user.interests
        total: Float32Array = weights @ self.nearest.of(view, rows)
        return unit_vectors(total) if total.any() else None

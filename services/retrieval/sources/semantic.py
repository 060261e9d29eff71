"""Candidates nearest to the query's embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.arrays import Float32Array, stacked, unit
from services.retrieval.catalogue.scored_items import NOTHING
from services.retrieval.catalogue.snapshot import CatalogueView
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.search.item_search import NearestItems
from services.retrieval.sources.source import Drawn
from services.retrieval.sources.user_context import Person


@dataclass(frozen=True, eq=False)
class Semantic:
    """Items whose text is near the query; without a query, near the person's interest.

    The interest is the mean of the history's vectors, each weighed by how long ago it was. Scores are cosines.
    """

    nearest: NearestItems

    def draw(self, people: Sequence[Person], k: int, allowed: AllowedItems) -> list[Drawn]:
        """See `Source.draw`; one search for all people, since each costs some Python around it."""
        vectors = [self._vector(person, allowed.view) for person in people]
        known = [vector for vector in vectors if vector is not None]
        if not known:
            return [Drawn(NOTHING)] * len(people)
        founds, path = self.nearest.search(stacked(known), k, allowed)
        found = iter(founds)
        return [Drawn(NOTHING) if vector is None else Drawn(next(found), path) for vector in vectors]

    def _vector(self, person: Person, view: CatalogueView) -> Float32Array | None:
        return person.query if person.query is not None else self._interest(person, view)

    def _interest(self, person: Person, view: CatalogueView) -> Float32Array | None:
        rows, weights = person.interests
        total: Float32Array = weights @ self.nearest.of(view, rows)
        return unit(total) if total.any() else None

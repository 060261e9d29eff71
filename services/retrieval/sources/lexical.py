"""Sources that need neither vectors nor behaviour: the words of a query, and chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.retrieval.catalogue.scored_items import NOTHING, Found
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.bm25 import TitleWords
from services.retrieval.sources.source import Drawn, best
from services.retrieval.sources.user_context import Person


@dataclass(frozen=True, eq=False)
class Lexical:
    """Items with the query's words in their titles, by BM25; nothing without a query's text."""

    titles: TitleWords

    def draw(self, people: Sequence[Person], k: int, allowed: AllowedItems) -> list[Drawn]:
        """See `Source.draw`."""
        return [Drawn(self._draw(person, k, allowed) if person.words else NOTHING) for person in people]

    def _draw(self, person: Person, k: int, allowed: AllowedItems) -> Found:
        added = allowed.view.added
        released = self.titles.of_release(person.words)
        live = self.titles.of_added(person.words, added.shelf.titles, len(added))
        return best(np.concatenate([released, live]), k, allowed)

"""Where candidates come from. Each source finds items for a person, with a score of its own kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from common.item_graph import ItemGraph
from services.retrieval.allowed_items import AllowedItems
from services.retrieval.catalogue_view import CatalogueView
from services.retrieval.exact_index import top_k
from services.retrieval.item_vectors import NOTHING, Found, best_of
from services.retrieval.nearest_items import NearestItems, Path
from services.retrieval.person import Person
from services.retrieval.vector_index import Floats, Rows, stacked, unit


class Drawn(NamedTuple):
    """What a source drew, and how it searched where it searched vectors."""

    found: Found
    path: Path | None = None


class Source(Protocol):
    """A way to find candidates."""

    def draw(self, people: Sequence[Person], k: int, allowed: AllowedItems) -> list[Drawn]:
        """Find at most ``k`` allowed items for each person, best first; nothing for a person it knows nothing of."""
        ...


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

    def _vector(self, person: Person, view: CatalogueView) -> Floats | None:
        return person.query if person.query is not None else self._interest(person, view)

    def _interest(self, person: Person, view: CatalogueView) -> Floats | None:
        rows, weights = person.interests
        total: Floats = weights @ self.nearest.of(view, rows)
        return unit(total) if total.any() else None


@dataclass(frozen=True, eq=False)
class Similar:
    """Items whose text is near one of the history's: one search around each of the most recent distinct items.

    An item's score is its highest cosine, weighed by how long ago the history item was. The history items themselves
    and those that share their text are found too: people buy again.
    """

    nearest: NearestItems
    recent: int

    def draw(self, people: Sequence[Person], k: int, allowed: AllowedItems) -> list[Drawn]:
        """See `Source.draw`."""
        return [self._draw(person, k, allowed) for person in people]

    def _draw(self, person: Person, k: int, allowed: AllowedItems) -> Drawn:
        rows, weights = person.recent(self.recent)
        if not len(rows):
            return Drawn(NOTHING)
        founds, path = self.nearest.around(rows, k, allowed)
        weighed = [Found(found.rows, found.scores * weight) for found, weight in zip(founds, weights, strict=True)]
        return Drawn(best_of(weighed, k), path)


@dataclass(frozen=True, eq=False)
class Behaviour:
    """Items that people with such a history go on to: the history's neighbours in an item graph, summed."""

    graph: ItemGraph

    def draw(self, people: Sequence[Person], k: int, allowed: AllowedItems) -> list[Drawn]:
        """See `Source.draw`."""
        return [self._draw(person, k, allowed) for person in people]

    def _draw(self, person: Person, k: int, allowed: AllowedItems) -> Drawn:
        rows, weights = person.interests
        origin = allowed.view.origin_of(rows)
        known = origin >= 0
        if not known.any():
            return Drawn(NOTHING)
        scores = self.graph.spread(origin[known], weights[known])
        return Drawn(best(_current(scores, allowed.view), k, allowed))


class Popular:
    """The items that most people want.

    Args:
        popularity: How much each item of the release is wanted, 0 for never; shape [items].
    """

    def __init__(self, popularity: Floats) -> None:
        self._popularity = popularity
        self._order = np.argsort(-popularity, kind="stable")
        self._wanted = int(np.count_nonzero(popularity > 0))

    def draw(self, people: Sequence[Person], k: int, allowed: AllowedItems) -> list[Drawn]:
        """See `Source.draw`; the same for everybody."""
        return [Drawn(self._first(self._order[: self._wanted], k, allowed))] * len(people)

    def fill(self, k: int, allowed: AllowedItems) -> Rows:
        """Return ``k`` allowed items, or as many as there are: the popular first, those added since last."""
        rows = self._first(self._order, k, allowed).rows
        if len(rows) < k:
            unknown = np.flatnonzero(allowed.rows)
            rows = np.concatenate([rows, unknown[allowed.view.origin_of(unknown) < 0]])
        return rows[:k]

    def _first(self, order: Rows, k: int, allowed: AllowedItems) -> Found:
        """Return the first ``k`` allowed of ``order``; reads no further than it must, twice as far each time."""
        rows, values, start, stop = [NOTHING.rows], [NOTHING.scores], 0, 4 * k
        while start < len(order) and sum(map(len, rows)) < k:
            part = order[start:stop]
            now = part if allowed.view.current_row is None else allowed.view.current_row[part]
            passes = (now >= 0) & allowed.rows[now]
            rows.append(now[passes])
            values.append(self._popularity[part[passes]])
            start, stop = stop, 2 * stop
        return Found(np.concatenate(rows)[:k], np.concatenate(values)[:k])


def _current(scores: Floats, view: CatalogueView) -> Floats:
    """Move scores of the release's items to where those items are now; shape [rows]."""
    if view.current_row is None and view.rows == len(scores):
        return scores
    moved = np.zeros(view.rows, dtype=np.float32)
    now = np.arange(len(scores)) if view.current_row is None else view.current_row
    moved[now[now >= 0]] = scores[now >= 0]
    return moved


def best(scores: Floats, k: int, allowed: AllowedItems) -> Found:
    """Return the ``k`` allowed rows with the highest scores above 0."""
    rows = np.flatnonzero((scores > 0) & allowed.rows)
    highest = rows[top_k(scores[rows][np.newaxis], k)[0]]
    return Found(highest, scores[highest])

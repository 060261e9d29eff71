"""Popular items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.arrays import Float32Array, RowIndices
from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.source import SourceResult
from services.retrieval.sources.user_context import UserContext


class PopularSource:
    """The items that most users want.

    Args:
        popularity: How much each item of the release is wanted, 0 for never; shape [items].
    """

    def __init__(self, popularity: Float32Array) -> None:
        self._popularity = popularity
        self._order = np.argsort(-popularity, kind="stable")
        self._wanted = int(np.count_nonzero(popularity > 0))

    def draw(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.draw`; the same for everybody."""
        return [SourceResult(self._first(self._order[: self._wanted], k, allowed))] * len(users)

    def fill(self, k: int, allowed: AllowedItems) -> RowIndices:
        """Return ``k`` allowed items, or as many as there are: the popular first, those added since last."""
        rows = self._first(self._order, k, allowed).rows
        if len(rows) < k:
            unknown = np.flatnonzero(allowed.rows)
            rows = np.concatenate([rows, unknown[allowed.view.origin_of(unknown) < 0]])
        return rows[:k]

    def _first(self, order: RowIndices, k: int, allowed: AllowedItems) -> ScoredItems:
        """Return the first ``k`` allowed of ``order``; reads no further than it must, twice as far each time."""
        rows, values, start, stop = [NOTHING.rows], [NOTHING.scores], 0, 4 * k
        while start < len(order) and sum(map(len, rows)) < k:
            part = order[start:stop]
            now = part if allowed.view.current_row is None else allowed.view.current_row[part]
            passes = (now >= 0) & allowed.rows[now]
            rows.append(now[passes])
            values.append(self._popularity[part[passes]])
            start, stop = stop, 2 * stop
        return ScoredItems(np.concatenate(rows)[:k], np.concatenate(values)[:k])

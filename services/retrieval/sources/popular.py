"""The source `popular`: the most popular items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.arrays import Float32Array, RowIndices
from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.source import SourceResult
from services.retrieval.sources.user_context import UserContext


class PopularSource:
    """The most popular items, the same for every user.

    Args:
        popularity: The popularity of each item of the release, 0 for never bought; shape [items].
    """

    def __init__(self, popularity: Float32Array) -> None:
        self._popularity = popularity
        self._order = np.argsort(-popularity, kind="stable")
        self._ever_bought = int(np.count_nonzero(popularity > 0))

    def retrieve(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.retrieve`."""
        return [SourceResult(self._first(self._order[: self._ever_bought], k, allowed))] * len(users)

    def padding(self, k: int, allowed: AllowedItems) -> RowIndices:
        """Return ``k`` allowed items, or all if there are fewer: by popularity, those added since the release last."""
        rows = self._first(self._order, k, allowed).rows
        if len(rows) < k:
            others = np.flatnonzero(allowed.rows)
            rows = np.concatenate([rows, others[allowed.snapshot.origin_of(others) < 0]])
        return rows[:k]

    def _first(self, order: RowIndices, k: int, allowed: AllowedItems) -> ScoredItems:
        """Return the first ``k`` allowed items of ``order``; reads it in slices that double until there are enough."""
        rows, values, start, stop = [NOTHING.rows], [NOTHING.scores], 0, 4 * k
        while start < len(order) and sum(map(len, rows)) < k:
            part = order[start:stop]
            current = part if allowed.snapshot.current_row is None else allowed.snapshot.current_row[part]
            passes = (current >= 0) & allowed.rows[current]
            rows.append(current[passes])
            values.append(self._popularity[part[passes]])
            start, stop = stop, 2 * stop
        return ScoredItems(np.concatenate(rows)[:k], np.concatenate(values)[:k])

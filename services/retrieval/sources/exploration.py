"""Items shown for exploration, drawn anew each day."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from common.arrays import Float32Array, RowIndices
from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.source import SourceResult
from services.retrieval.sources.user_context import UserContext

_DAY_S: Final = 86_400


# Draws for each item wanted: repeats, and items that are not allowed, find nothing.
_TRIES: Final = 3


def _today() -> int:
    return int(time.time()) // _DAY_S


class ExplorationSource:
    """Items that few have wanted so far, new ones too, drawn at random: all day the same for the same request.

    Args:
        popularity: How much each item of the release is wanted; shape [items].
        most: What few are.
        today: Returns a number that changes with the day.
    """

    def __init__(self, popularity: Float32Array, most: float, today: Callable[[], int] = _today) -> None:
        self._tail = np.flatnonzero(popularity <= most)
        self._today = today

    def draw(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.draw`; fewer than ``k`` where a filter leaves little. Scores fall from 1 in the order drawn."""
        return [SourceResult(self._draw(user, k, allowed)) for user in users]

    def _draw(self, user: UserContext, k: int, allowed: AllowedItems) -> ScoredItems:
        view, tail = allowed.view, len(self._tail)
        there = tail + len(view.added)
        if not there:
            return NOTHING
        drawn = np.random.default_rng([self._today(), user.seed]).integers(there, size=_TRIES * k)
        first = np.unique(drawn, return_index=True)[1]
        rows = self._rows(drawn[np.sort(first)], view)
        rows = rows[rows >= 0]
        rows = rows[allowed.rows[rows]][:k]
        return ScoredItems(rows, (1 - np.arange(len(rows)) / max(1, len(rows))).astype(np.float32))

    def _rows(self, places: RowIndices, view: Snapshot) -> RowIndices:
        """Return the rows of places in the tail and behind it among the added items, -1 for what is not there."""
        tail, base = len(self._tail), len(view.base)
        rows = np.full(len(places), -1, dtype=np.int64)
        released = places < tail
        rows[released] = self._tail[places[released]]
        if view.current_row is not None:
            rows[released] = view.current_row[rows[released]]
        new = np.flatnonzero(~released)
        new = new[view.added.origin[places[new] - tail] < 0]  # the others are in the tail, or wanted
        rows[new] = base + places[new] - tail
        return rows

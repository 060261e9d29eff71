"""The source `exploration`: unpopular and new items, sampled at random each day."""

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
# Samples for each item asked for: repeats, and items that are not allowed, are dropped.
_OVERSAMPLING: Final = 3


def _days_since_epoch() -> int:
    return int(time.time()) // _DAY_S


class ExplorationSource:
    """Items of low popularity and new items, sampled at random: the same all day for the same seed.

    Args:
        popularity: The popularity of each item of the release; shape [items].
        max_popularity: The highest popularity of an item to explore.
        today: Returns a number that changes with the day.
    """

    def __init__(
        self, popularity: Float32Array, max_popularity: float, today: Callable[[], int] = _days_since_epoch
    ) -> None:
        self._unpopular = np.flatnonzero(popularity <= max_popularity)
        self._today = today

    def retrieve(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.retrieve`; fewer than ``k`` if a filter leaves few. Scores fall from 1 in the order sampled."""
        return [SourceResult(self._retrieve_one(user, k, allowed)) for user in users]

    def _retrieve_one(self, user: UserContext, k: int, allowed: AllowedItems) -> ScoredItems:
        snapshot = allowed.snapshot
        population = len(self._unpopular) + len(snapshot.delta)
        if not population:
            return NOTHING
        samples = np.random.default_rng([self._today(), user.seed]).integers(population, size=_OVERSAMPLING * k)
        first = np.unique(samples, return_index=True)[1]
        rows = self._rows(samples[np.sort(first)], snapshot)
        rows = rows[rows >= 0]
        rows = rows[allowed.rows[rows]][:k]
        return ScoredItems(rows, (1 - np.arange(len(rows)) / max(1, len(rows))).astype(np.float32))

    def _rows(self, samples: RowIndices, snapshot: Snapshot) -> RowIndices:
        """Return the row of each sample, -1 if its item is gone or already counted among the release's.

        Samples below the number of unpopular items are places among these; the others are numbers of added items.
        """
        unpopular = len(self._unpopular)
        rows = np.full(len(samples), -1, dtype=np.int64)
        of_release = samples < unpopular
        rows[of_release] = self._unpopular[samples[of_release]]
        if snapshot.current_row is not None:
            rows[of_release] = snapshot.current_row[rows[of_release]]
        added = np.flatnonzero(~of_release)
        added = added[snapshot.delta.origin[samples[added] - unpopular] < 0]  # the others are items of the release
        rows[added] = len(snapshot.base) + samples[added] - unpopular
        return rows

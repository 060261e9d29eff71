"""Candidates that users chose after items of the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Float32Array
from common.release.item_graph import ItemGraph
from services.retrieval.catalogue.scored_items import NOTHING
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.source import SourceResult, best
from services.retrieval.sources.user_context import UserContext


@dataclass(frozen=True, eq=False)
class BehaviourSource:
    """Items that users with such a history go on to: the history's neighbours in an item graph, summed."""

    graph: ItemGraph

    def draw(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.draw`."""
        return [self._draw(user, k, allowed) for user in users]

    def _draw(self, user: UserContext, k: int, allowed: AllowedItems) -> SourceResult:
        rows, weights = user.interests
        origin = allowed.view.origin_of(rows)
        known = origin >= 0
        if not known.any():
            return SourceResult(NOTHING)
        scores = self.graph.spread(origin[known], weights[known])
        return SourceResult(best(_current(scores, allowed.view), k, allowed))


def _current(scores: Float32Array, view: Snapshot) -> Float32Array:
    """Move scores of the release's items to where those items are now; shape [rows]."""
    if view.current_row is None and view.rows == len(scores):
        return scores
    moved = np.zeros(view.rows, dtype=np.float32)
    now = np.arange(len(scores)) if view.current_row is None else view.current_row
    moved[now[now >= 0]] = scores[now >= 0]
    return moved

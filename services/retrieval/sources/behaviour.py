"""The source `behaviour`: items that users chose after items of the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Float32Array
from common.release.item_graph import ItemGraph
from services.retrieval.catalogue.scored_items import NOTHING
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.search.allowed_items import AllowedItems
from services.retrieval.sources.source import SourceResult, top_allowed
from services.retrieval.sources.user_context import UserContext


@dataclass(frozen=True, eq=False)
class BehaviourSource:
    """The history's neighbours in an item graph, their weights summed.

    Attributes:
        graph: Which items users chose after which, over the release's items.
    """

    graph: ItemGraph

    def retrieve(self, users: Sequence[UserContext], k: int, allowed: AllowedItems) -> list[SourceResult]:
        """See `Source.retrieve`."""
        return [self._retrieve_one(user, k, allowed) for user in users]

    def _retrieve_one(self, user: UserContext, k: int, allowed: AllowedItems) -> SourceResult:
        rows, weights = user.weighted_items
        origin = allowed.snapshot.origin_of(rows)
        known = origin >= 0
        if not known.any():
            return SourceResult(NOTHING)
        scores = self.graph.weighted_sum(origin[known], weights[known])
        return SourceResult(top_allowed(_by_current_row(scores, allowed.snapshot), k, allowed))


def _by_current_row(scores: Float32Array, snapshot: Snapshot) -> Float32Array:
    """Move the scores of the release's items to the rows that the items have now; shape [rows]."""
    if snapshot.current_row is None and snapshot.row_count == len(scores):
        return scores
    moved = np.zeros(snapshot.row_count, dtype=np.float32)
    rows = np.arange(len(scores)) if snapshot.current_row is None else snapshot.current_row
    moved[rows[rows >= 0]] = scores[rows >= 0]
    return moved

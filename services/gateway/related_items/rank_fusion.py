"""Reciprocal rank fusion of ranked lists.

An item's score is the sum over the lists of weight / (60 + rank), as in Cormack, Clarke and Büttcher, "Reciprocal rank
fusion outperforms Condorcet and individual rank learning methods" (https://doi.org/10.1145/1571941.1572114). No
common scale of the scores is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_RANK_OFFSET: Final = 60


def fused_order(lists: Sequence[Sequence[str]], weights: Sequence[float]) -> list[tuple[str, float]]:
    """Return the distinct items of several lists with their scores, best first; ties by id.

    Args:
        lists: Ids of items, best first, none twice in one list.
        weights: The weight of each list, above 0.
    """
    scores: dict[str, float] = {}
    for items, weight in zip(lists, weights, strict=True):
        for rank, item_id in enumerate(items, start=1):
            scores[item_id] = scores.get(item_id, 0.0) + weight / (_RANK_OFFSET + rank)
    return sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))

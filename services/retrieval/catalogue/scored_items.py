"""Items with scores, best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from common.arrays import Float32Array, RowIndices

NO_ROWS: Final[RowIndices] = np.empty(0, dtype=np.int64)
NO_SCORES: Final[Float32Array] = np.empty(0, dtype=np.float32)


class ScoredItems(NamedTuple):
    """Items with scores, best first.

    Attributes:
        rows: Rows of the snapshot; shape [n].
        scores: The source's scores, falling; shape [n].
    """

    rows: RowIndices
    scores: Float32Array


NOTHING: Final = ScoredItems(NO_ROWS, NO_SCORES)


def best_of(results: list[ScoredItems], k: int) -> ScoredItems:
    """Merge the results of several searches, each item with its highest score, and keep the best ``k``.

    Among equal scores, the earlier search goes first.
    """
    rows = np.concatenate([result.rows for result in results])
    scores = np.concatenate([result.scores for result in results])
    order = np.argsort(-scores, kind="stable")
    # np.unique returns the first position of each row: after sorting, that of its highest score.
    _, first = np.unique(rows[order], return_index=True)
    kept = order[np.sort(first)[:k]]
    return ScoredItems(rows[kept], scores[kept])


def merged(results: Sequence[ScoredItems], k: int) -> ScoredItems:
    """Merge results that have no item in common, as `best_of` does, and keep the best ``k``."""
    scores = np.concatenate([result.scores for result in results])
    kept = (-scores).argsort(kind="stable")[:k]
    return ScoredItems(np.concatenate([result.rows for result in results])[kept], scores[kept])

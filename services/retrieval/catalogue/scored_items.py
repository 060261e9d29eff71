"""Items with scores, best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from common.arrays import Float32Array, RowIndices

NO_ROWS: Final[RowIndices] = np.empty(0, dtype=np.int64)


NO_SCORES: Final[Float32Array] = np.empty(0, dtype=np.float32)


class ScoredItems(NamedTuple):
    """Items that a source found, best first.

    Attributes:
        rows: Rows of the catalogue view; shape [n].
        scores: The source's scores, falling; shape [n].
    """

    rows: RowIndices
    scores: Float32Array


NOTHING: Final = ScoredItems(NO_ROWS, NO_SCORES)


def best_of(founds: list[ScoredItems], k: int) -> ScoredItems:
    """Join what several searches found, each item with its highest score, and keep the best ``k``.

    Among equal scores the earlier search goes first, and within it the order that it gave.
    """
    rows = np.concatenate([found.rows for found in founds])
    scores = np.concatenate([found.scores for found in founds])
    order = np.argsort(-scores, kind="stable")
    # np.unique tells the first place of each row, which after sorting is that of its highest score.
    _, first = np.unique(rows[order], return_index=True)
    kept = order[np.sort(first)[:k]]
    return ScoredItems(rows[kept], scores[kept])


def merged(founds: Sequence[ScoredItems], k: int) -> ScoredItems:
    """Join what several searches found of which no item was found twice, as `best_of` does, and keep the best ``k``."""
    scores = np.concatenate([found.scores for found in founds])
    kept = (-scores).argsort(kind="stable")[:k]
    return ScoredItems(np.concatenate([found.rows for found in founds])[kept], scores[kept])

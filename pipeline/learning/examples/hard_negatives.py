"""Mined negatives: items near a query by the base encoder that have no judgement for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from pipeline.learning.examples.judged_queries import JudgedQuery


def mined_negatives(
    queries: Sequence[JudgedQuery], query_vectors: Float32Array, item_vectors: Float32Array, *, count: int, first: int
) -> list[npt.NDArray[np.int64]]:
    """Return for each query the unjudged items of the ranks from ``first`` on.

    The nearest are skipped, since many of them are relevant without a judgement.

    Args:
        queries: The judged queries.
        query_vectors: Their unit vectors; float32[queries, width].
        item_vectors: The catalogue's; float32[items, width].
        count: Items for each query; fewer if the catalogue ends.
        first: First rank, from 0, among the unjudged items.
    """
    return [
        _ranks(item_vectors @ vector, one.rows, first, first + count)
        for one, vector in zip(queries, query_vectors, strict=True)
    ]


def _ranks(cosines: Float32Array, judged: npt.NDArray[np.int64], start: int, stop: int) -> npt.NDArray[np.int64]:
    cosines[judged] = -np.inf
    near = min(stop, len(cosines) - len(np.unique(judged)))
    nearest = np.argpartition(-cosines, near - 1)[:near] if near > 0 else np.empty(0, np.int64)
    return nearest[np.argsort(-cosines[nearest], kind="stable")][start:]

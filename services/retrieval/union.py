"""The union of what the sources found, as a table of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.retrieval.item_vectors import Found
from services.retrieval.vector_index import Floats, Rows


def union(founds: Sequence[Found]) -> tuple[Rows, Floats]:
    """Join what sources found.

    Args:
        founds: What each source found, each row at most once.

    Returns:
        The distinct rows, in any order, shape [n]; and each source's score of each row, NaN where it did not find it,
        shape [n, sources].
    """
    if len(founds) == 1:  # whose rows are distinct already
        return founds[0].rows, founds[0].scores[:, np.newaxis]
    rows = np.unique(np.concatenate([found.rows for found in founds]))
    scores = np.full((len(rows), len(founds)), np.nan, dtype=np.float32)
    for column, found in enumerate(founds):
        scores[np.searchsorted(rows, found.rows), column] = found.scores
    return rows, scores

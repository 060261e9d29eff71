"""The union of what the sources found, as a table of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.retrieval.item_vectors import Found
from services.retrieval.vector_index import Floats, Rows


def unions(requests: Sequence[Sequence[Found]]) -> tuple[Rows, Floats, list[int]]:
    """Join what the sources found for each of several requests.

    Args:
        requests: What each source found for each of them, each row at most once.

    Returns:
        The distinct rows of one request after the other's, of each in any order, shape [n]; each source's score of each
        row, NaN where it did not find it, shape [n, sources]; and how many rows each request has.
    """
    if all(len(founds) == 1 for founds in requests):  # whose rows are distinct already
        only = [founds[0] for founds in requests]
        scores = np.concatenate([found.scores for found in only])[:, np.newaxis]
        return np.concatenate([found.rows for found in only]), scores, [len(found.rows) for found in only]
    joined = [_union(founds) for founds in requests]
    rows, tables = (np.concatenate(parts) for parts in zip(*joined, strict=True))
    return rows, tables, [len(rows) for rows, _ in joined]


def _union(founds: Sequence[Found]) -> tuple[Rows, Floats]:
    rows = np.unique(np.concatenate([found.rows for found in founds]))
    scores = np.full((len(rows), len(founds)), np.nan, dtype=np.float32)
    for column, found in enumerate(founds):
        scores[np.searchsorted(rows, found.rows), column] = found.scores
    return rows, scores

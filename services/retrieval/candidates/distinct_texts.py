"""Items with the same text as one: they share a vector, so they are known by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.arrays import Float32Array, Int64Array, RowIndices
from services.retrieval.catalogue.item_vectors import ItemVectors
from services.retrieval.catalogue.snapshot import Snapshot


def text_keys(rows: RowIndices, snapshot: Snapshot, vectors: ItemVectors) -> Int64Array:
    """Return a number for each row, the same for rows of one vector; shape [rows].

    An item that was added, or replaced with another text, has a number of its own.
    """
    origins = snapshot.vector_origin_of(rows)
    own = vectors.count + np.asarray(rows, dtype=np.int64)
    return np.where(origins >= 0, vectors.vector_of_item[np.maximum(origins, 0)], own)


def rows_with_texts_of(rows: RowIndices, snapshot: Snapshot, vectors: ItemVectors) -> RowIndices:
    """Return the rows, and every current row that has the same text as one of them."""
    origins = snapshot.vector_origin_of(rows)
    items = vectors.items_of(np.unique(vectors.vector_of_item[origins[origins >= 0]]))
    current = items if snapshot.current_row is None else snapshot.current_row[items]
    current = current[current >= 0]
    kept = current[snapshot.vector_origin_of(current) >= 0]  # a replaced item may have another text now
    return np.union1d(rows, kept)


def share_scores(scores: Float32Array, columns: Sequence[int], keys: Int64Array, counts: Sequence[int]) -> None:
    """Give the scores of text sources to every item with the same text, in place.

    A text source returns one item of a text; another source may return another item of it.

    Args:
        scores: Each source's scores of the rows of one request after the other, NaN for none; shape [rows, sources].
        columns: The columns of the text sources.
        keys: The rows' text keys; shape [rows].
        counts: How many rows each request has.
    """
    if not columns or not len(keys):
        return
    groups = np.repeat(np.arange(len(counts)), counts) * (keys.max() + 1) + keys
    order = groups.argsort(kind="stable")
    groups = groups[order]
    starts = np.append(0, (groups[1:] != groups[:-1]).nonzero()[0] + 1)
    if len(starts) == len(keys):  # no text twice
        return
    sizes = np.diff(starts, append=len(keys))
    for column in columns:
        scores[order, column] = np.fmax.reduceat(scores[order, column], starts).repeat(sizes)


def first_of_each(keys: Int64Array) -> RowIndices:
    """Return the positions of the first row of each text, ascending."""
    return np.sort(np.unique(keys, return_index=True)[1])

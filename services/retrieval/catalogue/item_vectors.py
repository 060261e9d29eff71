"""Maps items to the release's vectors and back: items with the same text share a vector."""

from __future__ import annotations

from copy import copy
from itertools import pairwise

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from services.retrieval.catalogue.scored_items import NOTHING, ScoredItems


class ItemVectors:
    """The vector of each item of the release, and the items of each vector.

    Args:
        vector_of_item: Row of each item's vector; shape [items].
        vectors: How many vectors there are.
        popularity: Orders the items that share a vector, the most popular first; shape [items].
    """

    def __init__(self, vector_of_item: RowIndices, vectors: int, popularity: Float32Array) -> None:
        self.vector_of_item = vector_of_item
        self.count = vectors
        self._items = np.lexsort((-popularity, vector_of_item))
        self._sizes = np.bincount(vector_of_item, minlength=vectors)
        self._ends = np.cumsum(self._sizes)
        self._have_items = bool(self._sizes.all())

    def fan_out(
        self,
        labels: RowIndices,
        scores: Float32Array,
        k: int,
        allowed: BoolMask | None,
        result_row: RowIndices | None = None,
        *,
        one_per_vector: bool = False,
    ) -> list[ScoredItems]:
        """Return the first ``k`` allowed items of each row of vectors.

        Args:
            labels: Rows of vectors, best first; shape [n, vectors].
            scores: Their scores; shape [n, vectors].
            k: How many items at most.
            allowed: Which items may be found, shape [items] or longer; None for all.
            result_row: The row to return for each item, shape [items]; None for its own.
            one_per_vector: Whether only the most popular allowed item of each vector is returned.
        """
        if not labels.size:
            return [NOTHING] * len(labels)
        if one_per_vector and allowed is None and self._have_items:  # there may be thousands of others
            rows = self._items[self._ends[labels[:, :k]] - self._sizes[labels[:, :k]]]
            rows = rows if result_row is None else result_row[rows]
            return list(map(ScoredItems, rows, scores[:, :k]))
        rows, sizes, all_ends = self._items_of(labels.ravel())
        values, ends = scores.ravel().repeat(sizes), all_ends[labels.shape[1] - 1 :: labels.shape[1]]
        if allowed is not None:
            kept = allowed[rows].nonzero()[0]
            rows, values, ends = rows[kept], values[kept], np.searchsorted(kept, ends)
        if one_per_vector and len(rows):
            owners = self.vector_of_item[rows]
            is_first = np.append(True, owners[1:] != owners[:-1])
            is_first[ends[ends < len(rows)]] = True  # the next row of vectors may begin with the same one
            kept = is_first.nonzero()[0]
            rows, values, ends = rows[kept], values[kept], np.searchsorted(kept, ends)
        if result_row is not None:
            rows = result_row[rows]
        bounds = pairwise([0, *ends.tolist()])
        return [
            ScoredItems(rows[start : min(end, start + k)], values[start : min(end, start + k)]) for start, end in bounds
        ]

    def extended(self, count: int) -> ItemVectors:
        """Return the same with ``count`` more vectors, each of one more item."""
        items = len(self.vector_of_item)
        extended: ItemVectors = copy(self)
        extended.count = self.count + count
        extended.vector_of_item = np.concatenate([self.vector_of_item, np.arange(self.count, extended.count)])
        extended._items = np.concatenate([self._items, np.arange(items, items + count)])
        extended._sizes = np.concatenate([self._sizes, np.ones(count, dtype=np.int64)])
        extended._ends = np.concatenate([self._ends, np.arange(items + 1, items + count + 1)])
        return extended

    def vectors_with(self, allowed: BoolMask) -> BoolMask:
        """Return which of the vectors have an allowed item; shape [vectors]."""
        if 2 * np.count_nonzero(allowed) < len(allowed):
            return np.bincount(self.vector_of_item[np.flatnonzero(allowed)], minlength=self.count) > 0
        return np.bincount(self.vector_of_item[np.flatnonzero(~allowed)], minlength=self.count) < self._sizes

    def have_items(self, labels: RowIndices, allowed: BoolMask) -> BoolMask:
        """Return which of the vectors ``labels`` have an allowed item; shape [labels]."""
        items, sizes, _ = self._items_of(labels)
        owners = np.repeat(np.arange(len(labels)), sizes)
        have: BoolMask = np.bincount(owners, weights=allowed[items], minlength=len(labels)) > 0
        return have

    def items_of(self, labels: RowIndices) -> RowIndices:
        """Return the items of vectors, one vector's after the other's, the most popular of each first."""
        return self._items_of(labels)[0]

    def _items_of(self, labels: RowIndices) -> tuple[RowIndices, RowIndices, RowIndices]:
        """Return the items of vectors, one vector's after the other's; how many each has; and where they end."""
        sizes = self._sizes[labels]
        ends = sizes.cumsum()
        entries = (self._ends[labels] - ends).repeat(sizes)
        entries += np.arange(len(entries))
        return self._items[entries], sizes, ends

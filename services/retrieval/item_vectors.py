"""Between items and the release's vectors: products that share a text share its vector."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from services.retrieval.vector_index import Floats, Mask, Rows

NO_ROWS: Final[Rows] = np.empty(0, dtype=np.int64)
NO_SCORES: Final[Floats] = np.empty(0, dtype=np.float32)


class Found(NamedTuple):
    """Items that a source found, best first.

    Attributes:
        rows: Rows of the catalogue view; shape [n].
        scores: The source's scores, falling; shape [n].
    """

    rows: Rows
    scores: Floats


NOTHING: Final = Found(NO_ROWS, NO_SCORES)


class ItemVectors:
    """The vector of each item of the release, and the items of each vector.

    Args:
        vector_of_item: Row of each item's vector; shape [items].
        vectors: How many vectors there are.
        popularity: Orders the items that share a vector, the most popular first; shape [items].
    """

    def __init__(self, vector_of_item: Rows, vectors: int, popularity: Floats) -> None:
        self.vector_of_item = vector_of_item
        self.count = vectors
        self._items = np.lexsort((-popularity, vector_of_item))
        self._sizes = np.bincount(vector_of_item, minlength=vectors)
        self._first = np.cumsum(self._sizes) - self._sizes

    def fan_out(self, labels: Rows, scores: Floats, k: int, allowed: Mask | None) -> list[Found]:
        """Return the first ``k`` allowed items of each row of vectors.

        Args:
            labels: Rows of vectors, best first; shape [n, vectors].
            scores: Their scores; shape [n, vectors].
            k: How many items at most.
            allowed: Which items may be found, shape [items] or longer; None for all.
        """
        sizes = self._sizes[labels]
        rows, values = self._items_of(labels.ravel()), np.repeat(scores.ravel(), sizes.ravel())
        counts = sizes.sum(axis=1)
        if allowed is not None:
            passes = allowed[rows]
            rows, values = rows[passes], values[passes]
            counts = np.bincount(np.repeat(np.arange(len(counts)), counts)[passes], minlength=len(counts))
        ends = np.cumsum(counts)
        bounds = zip((ends - counts).tolist(), np.minimum(ends, ends - counts + k).tolist(), strict=True)
        return [Found(rows[start:end], values[start:end]) for start, end in bounds]

    def with_items(self, allowed: Mask) -> Mask:
        """Return which of the vectors have an allowed item; shape [vectors]."""
        mask = np.zeros(self.count, dtype=np.bool_)
        mask[self.vector_of_item[allowed]] = True
        return mask

    def have_items(self, labels: Rows, allowed: Mask) -> Mask:
        """Return which vectors have an allowed item; shape [labels]."""
        sizes = self._sizes[labels]
        owners = np.repeat(np.arange(len(labels)), sizes)
        have: Mask = np.bincount(owners, weights=allowed[self._items_of(labels)], minlength=len(labels)) > 0
        return have

    def _items_of(self, labels: Rows) -> Rows:
        """Return the items of vectors, one vector's after the other's."""
        sizes = self._sizes[labels]
        ends = np.cumsum(sizes)
        entries = np.arange(sizes.sum()) + np.repeat(self._first[labels] - (ends - sizes), sizes)
        items: Rows = self._items[entries]
        return items


def best_of(founds: list[Found], k: int) -> Found:
    """Join what several searches found, each item with its highest score, and keep the best ``k``.

    Among equal scores the earlier search goes first, and within it the order that it gave.
    """
    rows = np.concatenate([found.rows for found in founds])
    scores = np.concatenate([found.scores for found in founds])
    order = np.argsort(-scores, kind="stable")
    # np.unique tells the first place of each row, which after sorting is that of its highest score.
    _, first = np.unique(rows[order], return_index=True)
    kept = order[np.sort(first)[:k]]
    return Found(rows[kept], scores[kept])

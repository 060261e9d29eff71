"""Exact search: the oracle of every other index, and the way out where a filter leaves few vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from common.layout import VECTORS
from services.retrieval.identity_cache import IdentityCache
from services.retrieval.read_write_lock import ReadWriteLock
from services.retrieval.stacked_table import Table
from services.retrieval.vector_index import Floats, Hits, Mask, Numbers, Rows, check_search

REMOVED = "index/removed.npy"
# Rows gathered at a time: at 384 dimensions 1.5 MB, which stays in a core's cache between gathering and multiplying.
_CHUNK_ROWS = 1024
# Gathering a row costs three times as much as multiplying it where it lies.
_DENSE_SHARE = 3
# Masks that are remembered with what passes them: most searches at a time share one.
_MASKS = 4


T = TypeVar("T", bound=np.dtype[Any])


@dataclass(frozen=True, eq=False)
class Passing:
    """Which labels can be found.

    Attributes:
        mask: As long as the table; None where every label can.
        count: How many can.
    """

    mask: Mask | None
    count: int


class ExactIndex:
    """Compares a query with every allowed vector; implements `VectorIndex`.

    Args:
        vectors: Unit vectors, the label of each being its row; may be memory-mapped, is copied at the first change.
        removed: Labels whose vectors can't be found.
    """

    def __init__(self, vectors: Table, removed: Rows | None = None) -> None:
        self._lock = ReadWriteLock()
        self._vectors = vectors
        self._owned = False
        self._present = np.ones(len(vectors), dtype=np.bool_)
        if removed is not None:
            self._present[removed] = False
        self._end = len(vectors)  # behind it rows are reserved, and were never anybody's
        self._counted()

    @classmethod
    def load(cls, folder: Path) -> ExactIndex:
        """Map the vectors of the release in ``folder``."""
        removed = np.load(folder / REMOVED) if (folder / REMOVED).exists() else None
        return cls(np.asarray(np.load(folder / VECTORS, mmap_mode="r")), removed)

    def save(self, folder: Path) -> None:
        """Write the vectors, and which of them were removed where any were."""
        with self._lock.read():
            (folder / VECTORS).parent.mkdir(parents=True, exist_ok=True)
            np.save(folder / VECTORS, np.asarray(self._vectors)[: self._end])
            if self._count < self._end:
                np.save(folder / REMOVED, np.flatnonzero(~self._present[: self._end]))

    def table(self) -> tuple[Floats, Rows]:
        """Return every vector, those that can't be found too, shape [rows, dimension], and the labels of these."""
        with self._lock.read():
            return np.asarray(self._vectors), np.flatnonzero(~self._present)

    def close(self, *, discard: bool = False) -> None:
        """Nothing is held outside of this process; see `VectorIndex.close`."""

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return int(self._vectors.shape[1])

    @property
    def numbers(self) -> Numbers:
        """What numbers its vectors are searched in."""
        return "float32"

    @property
    def rows(self) -> int:
        """How many rows the table has, those of removed and of reserved labels included."""
        return len(self._present)

    def __len__(self) -> int:
        return self._count

    def passing(self, allowed: Mask | None) -> Passing:
        """Return which labels can be found; remembers the last few masks, which searches give again and again."""
        return self._everything if allowed is None else self._passing.of(allowed, self._among)

    def contains(self, labels: Rows) -> Mask:
        """Return which labels can be found; shape [labels]."""
        known = labels < self.rows
        return known & self._present[np.where(known, labels, 0)] if self.rows else known

    def read(self, labels: Rows) -> Floats:
        """Return the vectors of labels of the table; shape [labels, dimension]."""
        vectors: Floats = self._vectors[labels]
        return vectors

    def search(self, vectors: Floats, k: int, allowed: Mask | None = None) -> Hits:
        """Find the ``k`` allowed vectors most like each query; see `VectorIndex.search`."""
        check_search(self.dimension, vectors, k)
        with self._lock.read():
            labels, scores = nearest(self._vectors, vectors, k, self.passing(allowed).mask)
        return Hits(labels, scores, "exact")

    def rescored(self, vectors: Floats, labels: Rows, k: int) -> tuple[Rows, Floats]:
        """Return the best ``k`` of what was found for queries, with their inner products, best first.

        Args:
            vectors: The queries; shape [n, dimension].
            labels: What was found for each, -1 for nothing; shape [n, found].
            k: How many at most.
        """
        from services.retrieval.table_products import table_products  # noqa: PLC0415 - faiss: 15 MB that few need

        scores = table_products(self._vectors, vectors, labels)
        best = top_k(scores, k)
        return along(labels, best), along(scores, best)

    def add(self, labels: Rows, vectors: Floats) -> None:
        """Add or replace vectors; see `VectorIndex.add`."""
        check_search(self.dimension, vectors, k=1)
        if not len(labels):
            return
        with self._lock.write():
            self._end = max(self._end, int(labels.max()) + 1)
            self._reserved(self._end)[labels] = vectors
            self._present[labels] = True
            self._counted()

    def remove(self, labels: Rows) -> None:
        """Remove vectors; see `VectorIndex.remove`."""
        with self._lock.write():
            self._present[labels[self.contains(labels)]] = False
            self._counted()

    def _counted(self) -> None:
        """Count what is there, and forget which of it passed any mask."""
        self._count = int(np.count_nonzero(self._present))
        self._everything = Passing(None if self._count == self.rows else self._present.copy(), self._count)
        self._passing: IdentityCache[Mask, Passing] = IdentityCache(_MASKS)

    def _among(self, allowed: Mask) -> Passing:
        mask = np.zeros(self.rows, dtype=np.bool_)
        known = min(self.rows, len(allowed))
        np.logical_and(self._present[:known], allowed[:known], out=mask[:known])
        count = int(np.count_nonzero(mask))
        return Passing(mask, count) if count < self.rows else Passing(None, count)

    def _reserved(self, rows: int) -> Floats:
        """Return the table, our own and at least ``rows`` long; grows by half at least, so that adding is linear."""
        further = max(rows - self.rows, self.rows // 2) if rows > self.rows else 0
        if further or not self._owned:
            nothing = np.zeros((further, self.dimension), dtype=np.float32)
            self._vectors = np.concatenate([self._vectors, nothing])
            self._present = np.concatenate([self._present, np.zeros(further, dtype=np.bool_)])
            self._owned = True
        return np.asarray(self._vectors)


def nearest(table: Table, queries: Floats, k: int, passing: Mask | None = None) -> tuple[Rows, Floats]:
    """Return rows and inner products of the ``k`` rows of ``table`` most like each query, best first.

    Each query is multiplied alone: in one product with others its last digits, and with them the order of near equals,
    would depend on the others.

    Args:
        table: Vectors; shape [rows, dimension].
        queries: Shape [n, dimension].
        k: How many at most.
        passing: Which rows count, shape [rows]; None for all.
    """
    rows = None if passing is None else np.flatnonzero(passing)
    scores = products_of(table, queries, rows)
    best = top_k(scores, k)
    labels = best if rows is None else rows[best]
    return labels.astype(np.int64, copy=False), along(scores, best)


def products_of(table: Table, queries: Floats, rows: Rows | None) -> Floats:
    """Return the inner products of queries with ``rows`` of the table, None for all; shape [n, rows]. See `nearest`."""
    products = np.empty((len(queries), len(table) if rows is None else len(rows)), dtype=np.float32)
    for number, query in enumerate(queries):
        products[number] = table @ query if rows is None else _products(table, query, rows)
    return products


def top_k(scores: Floats, k: int) -> Rows:
    """Return the columns of the ``k`` highest scores of each row, falling; shape [n, min(k, columns)].

    Among equal scores the lower column comes first; which of those equal to the last one make it is left open.
    """
    columns = scores.shape[1]
    if k >= columns:
        best = np.broadcast_to(np.arange(columns), scores.shape)
    else:
        best = np.sort(np.argpartition(scores, columns - k, axis=1)[:, columns - k :], axis=1)
    order = np.argsort(-along(scores, best), axis=1, kind="stable")
    return along(best, order)


def along(table: np.ndarray[Any, T], columns: Rows) -> np.ndarray[Any, T]:
    """Return the given columns of each row, as `np.take_along_axis` does in four times as long; shape [n, columns]."""
    return table[np.arange(len(table))[:, np.newaxis], columns]


def _products(table: Table, query: Floats, rows: Rows) -> Floats:
    if len(rows) * _DENSE_SHARE >= len(table):
        everything: Floats = (table @ query)[rows]
        return everything
    products = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        products[start : start + len(chunk)] = table[chunk] @ query
    return products

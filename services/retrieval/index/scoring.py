"""Inner products of queries with rows of a table, and the best of them."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from services.retrieval.index.concatenated_vectors import Table

# Rows gathered at a time: at 384 dimensions 1.5 MB, which stays in a core's cache between gathering and multiplying.
_CHUNK_ROWS = 1024
# Gathering a row costs three times as much as multiplying it where it lies.
_DENSE_SHARE = 3
T = TypeVar("T", bound=np.dtype[Any])


def nearest(
    table: Table, queries: Float32Array, k: int, passing: BoolMask | None = None
) -> tuple[RowIndices, Float32Array]:
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
    scores = inner_products(table, queries, rows)
    best = top_k(scores, k)
    labels = best if rows is None else rows[best]
    return labels.astype(np.int64, copy=False), take_along_rows(scores, best)


def inner_products(table: Table, queries: Float32Array, rows: RowIndices | None) -> Float32Array:
    """Return the inner products of queries with ``rows`` of the table, None for all; shape [n, rows]. See `nearest`."""
    products = np.empty((len(queries), len(table) if rows is None else len(rows)), dtype=np.float32)
    for number, query in enumerate(queries):
        products[number] = table @ query if rows is None else _products(table, query, rows)
    return products


def top_k(scores: Float32Array, k: int) -> RowIndices:
    """Return the columns of the ``k`` highest scores of each row, falling; shape [n, min(k, columns)].

    Among equal scores the lower column comes first; which of those equal to the last one make it is left open.
    """
    columns = scores.shape[1]
    if k >= columns:
        best = np.broadcast_to(np.arange(columns), scores.shape)
    else:
        best = np.sort(np.argpartition(scores, columns - k, axis=1)[:, columns - k :], axis=1)
    order = np.argsort(-take_along_rows(scores, best), axis=1, kind="stable")
    return take_along_rows(best, order)


def take_along_rows(table: np.ndarray[Any, T], columns: RowIndices) -> np.ndarray[Any, T]:
    """Return the given columns of each row, as `np.take_along_axis` does in four times as long; shape [n, columns]."""
    return table[np.arange(len(table))[:, np.newaxis], columns]


def _products(table: Table, query: Float32Array, rows: RowIndices) -> Float32Array:
    if len(rows) * _DENSE_SHARE >= len(table):
        everything: Float32Array = (table @ query)[rows]
        return everything
    products = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        products[start : start + len(chunk)] = table[chunk] @ query
    return products

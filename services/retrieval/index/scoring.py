"""Exact scoring: inner products of queries with rows of a table, and the best of them."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from common.arrays import BoolMask, Float32Array, RowIndices
from services.retrieval.index.concatenated_vectors import ConcatenatedVectors, Table

# Rows gathered at a time: at 384 dimensions 1.5 MB, which stays in a core's cache between gathering and multiplying.
_CHUNK_ROWS = 1024
# Gathering a row costs three times as much as multiplying it in place.
_DENSE_SHARE = 3
T = TypeVar("T", bound=np.dtype[Any])


def nearest(
    table: Table, queries: Float32Array, k: int, mask: BoolMask | None = None
) -> tuple[RowIndices, Float32Array]:
    """Return rows and inner products of the ``k`` rows of ``table`` most like each query, best first.

    Each query is multiplied alone. In one product with others, its last digits would depend on them, and so would the
    order of near equals.

    Args:
        table: Vectors; shape [rows, dimension].
        queries: Shape [n, dimension].
        k: How many at most.
        mask: Which rows may be found, shape [rows]; None for all.
    """
    rows = None if mask is None else np.flatnonzero(mask)
    scores = inner_products(table, queries, rows)
    best = top_k(scores, k)
    labels = best if rows is None else rows[best]
    return labels.astype(np.int64, copy=False), take_along_rows(scores, best)


def rescore(table: Table, queries: Float32Array, labels: RowIndices, k: int) -> tuple[RowIndices, Float32Array]:
    """Return the best ``k`` candidates of each query with their inner products, best first.

    Args:
        table: Vectors; shape [rows, dimension].
        queries: Shape [n, dimension].
        labels: Candidates of each query, -1 for none; shape [n, candidates].
        k: How many at most.
    """
    scores = gathered_products(table, queries, labels)
    best = top_k(scores, k)
    return take_along_rows(labels, best), take_along_rows(scores, best)


def gathered_products(table: Table, queries: Float32Array, labels: RowIndices) -> Float32Array:
    """Return each query's inner products with the rows of its labels, -inf for a negative label.

    One call that releases the GIL; numpy needs two per query.

    Args:
        table: May be memory-mapped; shape [rows, dimension].
        queries: Shape [n, dimension].
        labels: Rows of the table; shape [n, k].
    """
    import faiss  # noqa: PLC0415 - it takes 15 MB, and only PQ needs it

    if isinstance(table, ConcatenatedVectors):
        rows = len(table.head)
        products = gathered_products(table.head, queries, np.where(labels < rows, labels, -1))
        return np.maximum(products, gathered_products(table.tail, queries, labels - rows), out=products)
    queries, labels = np.ascontiguousarray(queries), np.ascontiguousarray(labels)
    products = np.empty(labels.shape, dtype=np.float32)
    pointers = (faiss.swig_ptr(array) for array in (products, queries, table, labels))
    faiss.omp_set_num_threads(1)  # applies to the calling thread only
    faiss.fvec_inner_products_by_idx(*pointers, table.shape[1], *labels.shape)
    return products


def inner_products(table: Table, queries: Float32Array, rows: RowIndices | None) -> Float32Array:
    """Return the inner products of queries with ``rows`` of the table, None for all; shape [n, rows]. See `nearest`."""
    products = np.empty((len(queries), len(table) if rows is None else len(rows)), dtype=np.float32)
    for row, query in enumerate(queries):
        products[row] = table @ query if rows is None else _products(table, query, rows)
    return products


def top_k(scores: Float32Array, k: int) -> RowIndices:
    """Return the columns of the ``k`` highest scores of each row, falling; shape [n, min(k, columns)].

    Among equal scores the lower column comes first. Which of those equal to the last one are returned is undefined.
    """
    columns = scores.shape[1]
    if k >= columns:
        best = np.broadcast_to(np.arange(columns), scores.shape)
    else:
        best = np.sort(np.argpartition(scores, columns - k, axis=1)[:, columns - k :], axis=1)
    order = np.argsort(-take_along_rows(scores, best), axis=1, kind="stable")
    return take_along_rows(best, order)


def take_along_rows(table: np.ndarray[Any, T], columns: RowIndices) -> np.ndarray[Any, T]:
    """Return the given columns of each row, four times as fast as `np.take_along_axis`; shape [n, columns]."""
    return table[np.arange(len(table))[:, np.newaxis], columns]


def _products(table: Table, query: Float32Array, rows: RowIndices) -> Float32Array:
    if len(rows) * _DENSE_SHARE >= len(table):
        dense: Float32Array = (table @ query)[rows]
        return dense
    products = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK_ROWS):
        chunk = rows[start : start + _CHUNK_ROWS]
        products[start : start + len(chunk)] = table[chunk] @ query
    return products

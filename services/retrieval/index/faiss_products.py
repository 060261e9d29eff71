"""Inner products of queries with chosen rows of a table, in one call without the GIL: numpy would need two a query."""

from __future__ import annotations

import faiss
import numpy as np

from common.arrays import Float32Array, RowIndices
from services.retrieval.index.concatenated_vectors import ConcatenatedVectors, Table


def gathered_products(table: Table, queries: Float32Array, labels: RowIndices) -> Float32Array:
    """Return each query's inner products with the rows of its labels, -inf where a label is negative.

    Args:
        table: May be memory-mapped; shape [rows, dimension].
        queries: Shape [n, dimension].
        labels: Rows of the table; shape [n, k].
    """
    if isinstance(table, ConcatenatedVectors):
        rows = len(table.above)
        products = gathered_products(table.above, queries, np.where(labels < rows, labels, -1))
        return np.maximum(products, gathered_products(table.below, queries, labels - rows), out=products)
    queries, labels = np.ascontiguousarray(queries), np.ascontiguousarray(labels)
    products = np.empty(labels.shape, dtype=np.float32)
    pointers = (faiss.swig_ptr(array) for array in (products, queries, table, labels))
    faiss.omp_set_num_threads(1)  # it holds for the calling thread alone
    faiss.fvec_inner_products_by_idx(*pointers, table.shape[1], *labels.shape)
    return products

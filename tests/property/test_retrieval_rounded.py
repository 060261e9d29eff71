"""Rounded and coded vectors: what they find is scored as if nothing had been rounded."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import unit_vectors
from services.retrieval.ann.ann_index import HnswOptions, VectorEncoding
from services.retrieval.ann.faiss_hnsw import FaissHnswSqHeader
from services.retrieval.index.hybrid_index import HybridIndex

# Enough for a graph with so short a candidate list to be walked.
VECTORS, EF_SEARCH = 400, 12


numbers_ = st.sampled_from(["float16", "int8", "codes"])


@given(
    seed=st.integers(0, 999), dimension=st.integers(2, 40), k=st.integers(1, 12), numbers=numbers_, holes=st.booleans()
)
@settings(deadline=None, max_examples=40)
def test_scores_are_the_inner_products_of_the_table(
    seed: int, dimension: int, k: int, numbers: VectorEncoding, holes: bool
):
    """Whatever is found comes once, is allowed, and is ordered by its own vector's inner product, not the rounded."""
    generator = np.random.default_rng(seed)
    table = unit_vectors(generator.standard_normal((VECTORS, dimension)).astype(np.float32))
    index = HybridIndex.build(table, HnswOptions(4, 30, EF_SEARCH, threads=1, vectors=numbers))
    queries = unit_vectors(generator.standard_normal((5, dimension)).astype(np.float32))
    allowed = generator.random(VECTORS) < 0.9 if holes else None
    if holes:
        index.remove(np.arange(0, VECTORS, 20))
    hits = index.search(queries, k, allowed)
    products = np.stack(
        [table[row].astype(np.float64) @ query for row, query in zip(hits.labels, queries, strict=True)]
    )
    assert hits.labels.shape == (5, k)
    assert hits.labels.min() >= 0
    assert np.abs(hits.scores - products).max() < 3e-7
    assert (np.diff(hits.scores, axis=1) <= 0).all()
    assert all(len(set(row)) == k for row in hits.labels.tolist())
    assert not holes or (allowed[hits.labels].all() and (hits.labels % 20 != 0).all())


@given(seed=st.integers(0, 999), size=st.floats(1e-3, 1e3), rows=st.integers(1, 9))
@settings(deadline=None)
def test_rounding_is_off_by_half_a_step(seed: int, size: float, rows: int):
    """Numbers of the table become whole ones within int8, the nearest there are; opposite vectors stay opposite."""
    table = (size * np.random.default_rng(seed).standard_normal((rows, 7))).astype(np.float32)
    rounding = FaissHnswSqHeader.of("int8", table)
    rounded = rounding.apply(table)
    assert np.array_equal(rounded, np.rint(rounded))
    assert np.abs(rounded).max() == 127
    assert np.abs(rounded - table.astype(np.float64) * rounding.scale).max() <= 0.5 + 1e-4
    assert np.array_equal(rounding.apply(-table), -rounded)
    assert np.abs(rounding.apply(3 * table)).max() == 127

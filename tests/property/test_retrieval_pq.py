"""PQ: hits are scored by the exact vectors, not by their codes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import unit_vectors
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.index.hybrid_index import HybridIndex

# Enough that PQ is searched, with so short a candidate list.
VECTORS, EF_SEARCH = 400, 12


@given(seed=st.integers(0, 999), dimension=st.integers(2, 40), k=st.integers(1, 12), holes=st.booleans())
@settings(deadline=None, max_examples=40)
def test_scores_are_exact_inner_products(seed: int, dimension: int, k: int, holes: bool):
    """Each hit is allowed, found once, and ordered by the inner product of its own vector."""
    generator = np.random.default_rng(seed)
    table = unit_vectors(generator.standard_normal((VECTORS, dimension)).astype(np.float32))
    index = HybridIndex.build(table, IndexOptions(4, 30, EF_SEARCH, threads=1, kind="pq"))
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

"""When the graph is searched and when exact search answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from common.arrays import Float32Array, unit_vectors
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.index.candidate_search import HybridIndexOptions
from services.retrieval.index.hybrid_index import HybridIndex
from testing.lossy_index import lossy_index

VECTORS = 2_000


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return random unit vectors."""
    return unit_vectors(np.random.default_rng(2).standard_normal((VECTORS, 8)).astype(np.float32))


@pytest.fixture(scope="module")
def index(vectors: Float32Array) -> Iterator[HybridIndex]:
    """Return a graph with a short candidate list."""
    return HybridIndex.build(vectors, IndexOptions(ef_construction=60, ef_search=50))


@pytest.mark.parametrize(
    ("share", "method"), [(1.0, "approximate"), (0.6, "approximate"), (0.2, "exact"), (0.005, "exact")]
)
def test_selective_filters_are_answered_exactly(index: HybridIndex, vectors: Float32Array, share: float, method: str):
    """The graph is searched if many vectors pass, exact search answers if few do."""
    allowed = np.random.default_rng(3).random(VECTORS) < share
    assert index.search(vectors[:4], 20, allowed).method == method


def test_exact_search_answers_if_too_few_candidates_pass(index: HybridIndex, vectors: Float32Array):
    """If the nearest vectors do not pass a filter that most vectors pass, exact search answers."""
    allowed = vectors @ vectors[0] < np.quantile(vectors @ vectors[0], 0.7)
    hits = index.search(vectors[:1], 20, allowed)
    assert hits.method == "exact"
    assert hits.labels.shape == (1, 20)


def test_exact_search_answers_if_the_graph_reaches_too_few(vectors: Float32Array):
    """If the graph reaches fewer vectors than asked for, exact search finds them."""
    index = lossy_index(vectors, range(VECTORS - 10), IndexOptions(ef_construction=20, ef_search=50))
    hits = index.search(vectors[:1], 20)
    assert (hits.labels.shape, hits.method) == ((1, 20), "exact")


def test_few_vectors_are_compared_exactly(vectors: Float32Array):
    """If comparing every vector is cheaper than searching the graph, that is done; an option sets how much cheaper."""
    options = HybridIndexOptions(exact_factor=0)
    assert HybridIndex.build(vectors[:300], hybrid=options).search(vectors[:1], 10).method == "approximate"
    assert HybridIndex.build(vectors[:300]).search(vectors[:1], 10).method == "exact"

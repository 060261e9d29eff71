"""When the graph is walked and when exact search answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from common.arrays import Float32Array, unit_vectors
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.index.hybrid_index import HybridIndex

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
    """The graph is walked where many vectors pass, exact search answers where few do."""
    allowed = np.random.default_rng(3).random(VECTORS) < share
    assert index.search(vectors[:4], 20, allowed).method == method


def test_a_walk_that_comes_up_short_is_done_exactly(index: HybridIndex, vectors: Float32Array):
    """Where what the graph finds does not pass a filter that most vectors pass, exact search answers."""
    allowed = vectors @ vectors[0] < np.quantile(vectors @ vectors[0], 0.7)
    hits = index.search(vectors[:1], 20, allowed)
    assert hits.method == "exact"
    assert hits.labels.shape == (1, 20)


def test_unreachable_vectors_are_found_exactly(vectors: Float32Array, monkeypatch: pytest.MonkeyPatch):
    """Where the graph cannot reach as many vectors as asked for, exact search finds them instead of an error."""
    index = HybridIndex.build(vectors, IndexOptions(ef_construction=20, ef_search=50))
    monkeypatch.setattr(index._graph, "_index", Islands())
    hits = index.search(vectors[:1], 20)
    assert (hits.labels.shape, hits.method) == ((1, 20), "exact")


class Islands:
    """A graph that finds fewer neighbours than asked for, as hnswlib tells it."""

    def knn_query(self, *_arguments: object, **_options: object) -> None:
        """Refuse."""
        raise RuntimeError("Cannot return the results in a contiguous 2D array. Probably ef or M is too small")


def test_a_small_table_is_searched_exactly(vectors: Float32Array):
    """Where comparing every vector is cheaper than a walk, that is done."""
    assert HybridIndex.build(vectors[:300]).search(vectors[:1], 10).method == "exact"

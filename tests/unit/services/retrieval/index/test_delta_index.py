"""A graph that grows while it is searched."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from common.arrays import BoolMask, Float32Array, unit_vectors
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.index.delta_index import TAIL, TAIL_OF_CODES, DeltaIndex
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.scoring import nearest

ROWS, DIMENSION, K = 6_000, 16, 20


# Of them a release has the first, one of which was removed.
RELEASED, GONE = 4_000, 7


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return unit vectors."""
    return unit_vectors(np.random.default_rng(5).standard_normal((ROWS, DIMENSION)).astype(np.float32))


@pytest.fixture(scope="module")
def codes(vectors: Float32Array) -> HybridIndex:
    """Return codes of a release's vectors: the first of all, but for one that was removed."""
    index = HybridIndex.build(vectors[:RELEASED], IndexOptions(kind="pq"))
    index.remove(np.array([GONE]))
    return index


def recall(graph: DeltaIndex, vectors: Float32Array, passing: BoolMask) -> float:
    """Return the share of the nearest rows that the graph finds, for a few queries.

    Args:
        graph: Which may have the first ``graph.released`` vectors as its release's.
        vectors: The release's and those added, as far as the caller knows of.
        passing: Which of them may be found.
    """
    queries = vectors[: len(vectors) : len(vectors) // 20]
    exact = nearest(vectors, queries, K, passing)[0]
    found = graph.search(vectors[graph.released :], queries, K, passing)
    assert passing[found.labels].all()
    assert (np.diff(found.scores) <= 0).all()
    for query, rows, scores in zip(queries, found.labels, found.scores, strict=True):
        assert len(set(rows.tolist())) == K
        np.testing.assert_allclose(scores, vectors[rows] @ query, atol=1e-5)
    return float(np.mean([np.isin(rows, best).mean() for rows, best in zip(found.labels, exact, strict=True)]))


def test_rows_in_and_behind_the_graph_are_found(vectors: Float32Array):
    """Grown part and tail together answer as exact search does, with and without rows left out."""
    graph = DeltaIndex(DIMENSION)
    everything = np.ones(ROWS, dtype=np.bool_)
    for grown in (0, 500, 3_000, 3_001, 5_500):
        graph.grow(vectors[:grown], np.ones(grown, dtype=np.bool_))
        assert graph.rows == grown
        assert recall(graph, vectors, everything) > 0.95
        assert recall(graph, vectors, np.arange(ROWS) % 3 > 0) > 0.95
    assert recall(graph, vectors, np.arange(ROWS) < 30) == 1


def test_a_state_from_before_sees_its_own_rows(vectors: Float32Array):
    """A search over fewer rows than the graph has finds none of the later ones."""
    graph = DeltaIndex(DIMENSION)
    graph.grow(vectors, np.ones(ROWS, dtype=np.bool_))
    assert recall(graph, vectors[:2_500], np.ones(2_500, dtype=np.bool_)) > 0.95


def test_growing_is_due_by_the_thousand():
    """A few rows are compared one by one."""
    graph = DeltaIndex(DIMENSION)
    assert not graph.is_behind(TAIL - 1)
    assert graph.is_behind(TAIL)


def test_growing_by_codes_is_due_sooner(codes: HybridIndex):
    """A code is added in microseconds."""
    graph = DeltaIndex(DIMENSION, lambda: codes)
    assert not graph.is_behind(TAIL_OF_CODES - 1)
    assert graph.is_behind(TAIL_OF_CODES)


def test_codes_are_found_with_those_of_the_release(vectors: Float32Array, codes: HybridIndex):
    """One search finds what is nearest of the release, of what was added to its codes, and of what came since."""
    graph = DeltaIndex(DIMENSION, lambda: codes)
    there = np.arange(ROWS) != GONE
    for grown in (0, 500, 501, 1_900):
        graph.grow(vectors[RELEASED : RELEASED + grown], np.ones(grown, dtype=np.bool_))
        assert graph.rows == grown
        assert recall(graph, vectors, there) > 0.95
        assert recall(graph, vectors[: RELEASED + 300], there[: RELEASED + 300]) > 0.95
        assert recall(graph, vectors, there & (np.arange(ROWS) % 3 > 0)) > 0.95
        assert recall(graph, vectors, np.arange(ROWS) >= RELEASED) > 0.95
        assert recall(graph, vectors, there & (np.arange(ROWS) < 40)) == 1
    assert len(codes) == RELEASED - 1


def test_rows_without_a_vector_of_their_own_get_no_code(vectors: Float32Array, codes: HybridIndex):
    """What is found by its origin's vector is not found by its own too."""
    graph = DeltaIndex(DIMENSION, lambda: codes)
    own = np.arange(ROWS - RELEASED) % 2 > 0
    graph.grow(vectors[RELEASED:], own)
    assert len(graph.index) == RELEASED - 1 + own.sum()
    assert recall(graph, vectors, np.concatenate([np.arange(RELEASED) != GONE, own])) > 0.95


def test_codes_that_are_built_anew_are_begun_with_again(vectors: Float32Array, codes: HybridIndex):
    """Once the release's codes were built anew, growing is due, and both copies leave out what these left out."""
    release = [codes]
    graph = DeltaIndex(DIMENSION, lambda: release[0])
    everything = np.ones(500, dtype=np.bool_)
    for _ in range(2):
        graph.grow(vectors[RELEASED : RELEASED + 500], everything)
    release[0] = codes.without_removed(np.arange(1_000), vectors[:RELEASED])
    assert graph.is_behind(500)
    for _ in range(2):
        graph.grow(vectors[RELEASED : RELEASED + 500], everything)
        assert len(graph.index) == 1_500
        assert not graph.is_behind(500)
        there = (np.arange(RELEASED + 500) < 1_000) | (np.arange(RELEASED + 500) >= RELEASED)
        assert recall(graph, vectors[: RELEASED + 500], there) > 0.95


def test_codes_follow_the_release_in_how_hard_they_are_searched(codes: HybridIndex):
    """One search in place of two looks as far as the release's did; a graph of its own looks half as far."""
    joined, apart = DeltaIndex(DIMENSION, codes.copied), DeltaIndex(DIMENSION)
    for graph, ef_search in ((joined, 80), (apart, 40)):
        graph.set_ef_search(80)
        assert graph.index.ef_search == ef_search


@pytest.mark.parametrize("joined", [False, True])
def test_searching_while_it_grows(vectors: Float32Array, codes: HybridIndex, joined: bool):
    """Searches that run all the while find what they should, whichever copy they came by."""
    graph = DeltaIndex(DIMENSION, lambda: codes) if joined else DeltaIndex(DIMENSION)
    failures, done = [], threading.Event()
    passing = np.arange(ROWS) != GONE

    def search() -> None:
        while not done.is_set():
            shares = recall(graph, vectors, passing)
            if shares < 0.9:
                failures.append(shares)

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    for grown in range(0, ROWS - graph.released + 1, 500):
        graph.grow(vectors[graph.released : graph.released + grown], np.ones(grown, dtype=np.bool_))
    done.set()
    for reader in readers:
        reader.join()
    assert not failures

"""A graph that grows while it is searched."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from services.retrieval.added_graph import TAIL, TAIL_OF_CODES, AddedGraph
from services.retrieval.exact_index import nearest
from services.retrieval.item_vectors import Found, merged
from services.retrieval.scanned_codes import ScannedCodes
from services.retrieval.vector_index import Floats, unit

ROWS, DIMENSION, K = 6_000, 16, 20


@pytest.fixture(scope="module")
def vectors() -> Floats:
    """Return unit vectors."""
    return unit(np.random.default_rng(5).standard_normal((ROWS, DIMENSION)).astype(np.float32))


def recall(graph: AddedGraph, vectors: Floats, passing: np.ndarray) -> float:
    """Return the share of the nearest rows that the graph finds, for a few queries."""
    queries = vectors[: len(vectors) : len(vectors) // 20]
    exact = nearest(vectors, queries, K, passing)[0]
    parts = graph.search(vectors, queries, K, passing)
    found = [merged(founds, K) for founds in zip(*(map(Found, *part) for part in parts), strict=True)]
    assert all(passing[one.rows].all() and len(one.rows) == K for one in found)
    assert all((np.diff(one.scores) <= 0).all() for one in found)
    return float(np.mean([np.isin(one.rows, rows).mean() for one, rows in zip(found, exact, strict=True)]))


def test_rows_in_and_behind_the_graph_are_found(vectors: Floats):
    """Grown part and tail together answer as exact search does, with and without rows left out."""
    graph = AddedGraph(DIMENSION)
    everything = np.ones(ROWS, dtype=np.bool_)
    for grown in (0, 500, 3_000, 3_001, 5_500):
        graph.grow(vectors[:grown], np.ones(grown, dtype=np.bool_))
        assert graph.rows == grown
        assert recall(graph, vectors, everything) > 0.95
        assert recall(graph, vectors, np.arange(ROWS) % 3 > 0) > 0.95
    assert recall(graph, vectors, np.arange(ROWS) < 30) == 1


def test_a_state_from_before_sees_its_own_rows(vectors: Floats):
    """A search over fewer rows than the graph has finds none of the later ones."""
    graph = AddedGraph(DIMENSION)
    graph.grow(vectors, np.ones(ROWS, dtype=np.bool_))
    assert recall(graph, vectors[:2_500], np.ones(2_500, dtype=np.bool_)) > 0.95


def test_growing_is_due_by_the_thousand():
    """A few rows are compared one by one."""
    graph = AddedGraph(DIMENSION)
    assert not graph.is_behind(TAIL - 1)
    assert graph.is_behind(TAIL)


def test_growing_by_codes_is_due_sooner(vectors: Floats):
    """A code is added in microseconds."""
    graph = AddedGraph(DIMENSION, lambda: ScannedCodes.empty(vectors, seed=0))
    assert not graph.is_behind(TAIL_OF_CODES - 1)
    assert graph.is_behind(TAIL_OF_CODES)


def test_searching_while_it_grows(vectors: Floats):
    """Searches that run all the while find what they should, whichever copy they came by."""
    graph, failures, done = AddedGraph(DIMENSION), [], threading.Event()
    passing = np.ones(ROWS, dtype=np.bool_)

    def search() -> None:
        while not done.is_set():
            shares = recall(graph, vectors, passing)
            if shares < 0.9:
                failures.append(shares)

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    for grown in range(0, ROWS + 1, 500):
        graph.grow(vectors[:grown], np.ones(grown, dtype=np.bool_))
    done.set()
    for reader in readers:
        reader.join()
    assert not failures

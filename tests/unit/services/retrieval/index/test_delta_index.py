"""A index that grows while it is searched."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from common.arrays import BoolMask, Float32Array, unit_vectors
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.index.delta_index import DeltaIndex, DeltaIndexOptions
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.scoring import nearest

ROWS, DIMENSION, K = 6_000, 16, 20
# The release has the first of them, one of which was removed.
RELEASED, REMOVED = 4_000, 7


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return unit vectors."""
    return unit_vectors(np.random.default_rng(5).standard_normal((ROWS, DIMENSION)).astype(np.float32))


@pytest.fixture(scope="module")
def pq(vectors: Float32Array) -> HybridIndex:
    """Return pq of a release's vectors: the first of all, but for one that was removed."""
    index = HybridIndex.build(vectors[:RELEASED], IndexOptions(kind="pq"))
    index.remove(np.array([REMOVED]))
    return index


def recall(index: DeltaIndex, vectors: Float32Array, allowed: BoolMask) -> float:
    """Return the share of the nearest rows that the index finds, for a few queries.

    Args:
        index: May include the first ``index.release_rows`` vectors as its release's.
        vectors: The release's and those added, as far as the caller knows of.
        allowed: Which of them may be found.
    """
    queries = vectors[: len(vectors) : len(vectors) // 20]
    exact = nearest(vectors, queries, K, allowed)[0]
    found = index.search(vectors[index.release_rows :], queries, K, allowed)
    assert allowed[found.labels].all()
    assert (np.diff(found.scores) <= 0).all()
    for query, rows, scores in zip(queries, found.labels, found.scores, strict=True):
        assert len(set(rows.tolist())) == K
        np.testing.assert_allclose(scores, vectors[rows] @ query, atol=1e-5)
    return float(np.mean([np.isin(rows, best).mean() for rows, best in zip(found.labels, exact, strict=True)]))


def all_own(count: int) -> BoolMask:
    """Return a mask of rows that all have a vector of their own."""
    return np.ones(count, dtype=np.bool_)


def test_covered_and_uncovered_rows_are_found(vectors: Float32Array):
    """Rows in the index and rows after its end are found as by exact search, with and without a filter."""
    index = DeltaIndex(DIMENSION)
    for count in (0, 500, 3_000, 3_001, 5_500):
        index.extend(vectors[:count], all_own(count), None)
        assert index.covered_rows == count
        assert recall(index, vectors, all_own(ROWS)) > 0.95
        assert recall(index, vectors, np.arange(ROWS) % 3 > 0) > 0.95
    assert recall(index, vectors, np.arange(ROWS) < 30) == 1


def test_an_earlier_snapshot_finds_its_own_rows_only(vectors: Float32Array):
    """A search over fewer rows than the index covers finds none of the later ones."""
    index = DeltaIndex(DIMENSION)
    index.extend(vectors, all_own(ROWS), None)
    assert recall(index, vectors[:2_500], all_own(2_500)) > 0.95


def test_inserting_is_due_by_the_number_of_uncovered_rows(pq: HybridIndex):
    """A few rows are compared one by one; PQ, which inserts in microseconds, is due sooner than HNSW."""
    options = DeltaIndexOptions(max_uncovered=50, max_uncovered_pq=10)
    for release, bound in ((None, 50), (pq, 10)):
        index = DeltaIndex(DIMENSION, release, options)
        assert not index.is_behind(bound - 1, release)
        assert index.is_behind(bound, release)


def test_pq_finds_release_and_delta_in_one_search(vectors: Float32Array, pq: HybridIndex):
    """One search finds the nearest of the release, of the covered rows and of the uncovered ones."""
    index = DeltaIndex(DIMENSION, pq)
    is_live = np.arange(ROWS) != REMOVED
    for count in (0, 500, 501, 1_900):
        index.extend(vectors[RELEASED : RELEASED + count], all_own(count), pq)
        assert index.covered_rows == count
        assert recall(index, vectors, is_live) > 0.95
        assert recall(index, vectors[: RELEASED + 300], is_live[: RELEASED + 300]) > 0.95
        assert recall(index, vectors, is_live & (np.arange(ROWS) % 3 > 0)) > 0.95
        assert recall(index, vectors, np.arange(ROWS) >= RELEASED) > 0.95
        assert recall(index, vectors, is_live & (np.arange(ROWS) < 40)) == 1
    assert len(pq) == RELEASED - 1


def test_rows_without_a_vector_of_their_own_are_not_indexed(vectors: Float32Array, pq: HybridIndex):
    """An item that is found by its origin's vector gets no entry."""
    index = DeltaIndex(DIMENSION, pq)
    has_own_vector = np.arange(ROWS - RELEASED) % 2 > 0
    index.extend(vectors[RELEASED:], has_own_vector, pq)
    assert len(index.index) == RELEASED - 1 + has_own_vector.sum()
    assert recall(index, vectors, np.concatenate([np.arange(RELEASED) != REMOVED, has_own_vector])) > 0.95


def test_a_rebuilt_pq_index_is_begun_with_again(vectors: Float32Array, pq: HybridIndex):
    """Once the release's PQ was rebuilt, inserting is due, and both copies lack what the rebuild left out."""
    index = DeltaIndex(DIMENSION, pq)
    for _ in range(2):
        index.extend(vectors[RELEASED : RELEASED + 500], all_own(500), pq)
    rebuilt = pq.rebuild(np.arange(1_000), vectors[:RELEASED]).advance()
    assert index.is_behind(500, rebuilt)
    for _ in range(2):
        index.extend(vectors[RELEASED : RELEASED + 500], all_own(500), rebuilt)
        assert len(index.index) == 1_500
        assert not index.is_behind(500, rebuilt)
        is_live = (np.arange(RELEASED + 500) < 1_000) | (np.arange(RELEASED + 500) >= RELEASED)
        assert recall(index, vectors[: RELEASED + 500], is_live) > 0.95


def test_ef_search_follows_the_release(pq: HybridIndex):
    """An index that includes the release has its candidate list; HNSW over the delta alone has half as long a one."""
    for index, ef_search in ((DeltaIndex(DIMENSION, pq.copied()), 80), (DeltaIndex(DIMENSION), 40)):
        index.set_ef_search(80)
        assert index.index.ef_search == ef_search


@pytest.mark.parametrize("includes_release", [False, True])
def test_searches_go_on_while_it_grows(vectors: Float32Array, pq: HybridIndex, includes_release: bool):
    """Searches during insertions find what they should, whichever copy they use."""
    release = pq if includes_release else None
    index = DeltaIndex(DIMENSION, release)
    low_recalls, done = [], threading.Event()
    is_live = np.arange(ROWS) != REMOVED

    def search() -> None:
        while not done.is_set():
            found = recall(index, vectors, is_live)
            if found < 0.9:
                low_recalls.append(found)

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    for count in range(0, ROWS - index.release_rows + 1, 500):
        index.extend(vectors[index.release_rows : index.release_rows + count], all_own(count), release)
    done.set()
    for reader in readers:
        reader.join()
    assert not low_recalls

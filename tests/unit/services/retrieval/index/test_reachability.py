"""Vectors that a graph does not lead to are noticed and found all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from common.arrays import Float32Array, unit_vectors
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.reachability import AuditState, not_found, with_lost
from services.retrieval.index.vector_index import Hits

VECTORS, DIMENSION = 3_000, 16


CutOff = Callable[[HybridIndex, Sequence[int]], HybridIndex]


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return random unit vectors."""
    return unit_vectors(np.random.default_rng(2).standard_normal((VECTORS, DIMENSION)).astype(np.float32))


def audited(index: HybridIndex, count: int = 64) -> list[int]:
    """Audit everything that is due; returns what was not found."""
    lost: list[int] = []
    while index.audit_due:
        lost += index.audit(count).tolist()
    return lost


def search(index: HybridIndex, vectors: Float32Array, labels: Sequence[int], k: int = 5) -> list[int]:
    """Return what is nearest to each of the vectors."""
    hits = index.search(vectors[list(labels)], k)
    assert hits.method == "approximate"
    assert (np.diff(hits.scores, axis=1) <= 0).all()
    assert all(len(set(row)) == k for row in hits.labels.tolist())
    return hits.labels[:, 0].tolist()


def test_islands_are_found_and_mended(vectors: Float32Array, cut_off: CutOff):
    """Vectors that no link leads to are what the audit finds, nothing else; every search finds them from then on."""
    lost = [7, 1_200, 2_999]
    index = cut_off(HybridIndex.build(vectors, IndexOptions(ef_search=50)), lost)
    assert not set(search(index, vectors, lost)) & set(lost)
    assert audited(index) == lost
    assert index.unreachable == 3
    assert search(index, vectors, lost) == lost
    assert search(index, vectors, [3, 4, 5]) == [3, 4, 5]


def test_a_lost_vector_is_found_behind_a_filter_and_not_where_it_is_forbidden(vectors: Float32Array, cut_off: CutOff):
    """What the graph does not lead to keeps to filters and removals like everything else."""
    index = cut_off(HybridIndex.build(vectors, IndexOptions(ef_search=50)), [7, 8])
    audited(index)
    allowed = np.ones(VECTORS, dtype=np.bool_)
    allowed[7] = False
    hits = index.search(vectors[[7, 8]], 5, allowed)
    assert hits.method == "approximate"
    assert (hits.labels[0] != 7).all()
    assert hits.labels[1, 0] == 8
    index.remove(np.array([8]))
    assert 8 not in index.search(vectors[[8]], 5).labels


def test_a_sound_graph_has_nothing_to_mend(vectors: Float32Array):
    """Where every vector is reached, the audit ends after one round and finds nothing."""
    index = HybridIndex.build(vectors, IndexOptions(ef_search=100))
    assert index.audit_due == VECTORS
    assert audited(index, 700) == []
    assert (index.unreachable, index.audit_due) == (0, 0)


def test_equal_vectors_are_not_lost():
    """Where more vectors are equal than a search looks at, none of them counts as lost."""
    same = np.tile(unit_vectors(np.ones((1, DIMENSION), np.float32)), (1_500, 1))
    index = HybridIndex.build(same, IndexOptions(ef_search=20))
    assert audited(index) == []


def test_growth_is_audited_too(vectors: Float32Array):
    """Each vector that comes is due, and one of those before; rows without a vector are passed over."""
    index = HybridIndex.build(vectors[:1_000], IndexOptions(ef_search=100))
    audited(index)
    there = np.ones(1_200, dtype=np.bool_)
    there[1_100:] = False
    grown = index.grown(vectors[:1_200], there)
    assert grown.audit_due == 200
    assert audited(grown) == []
    grown.add(np.arange(1_200, 1_210), vectors[1_200:1_210])
    assert grown.audit_due == 20


def test_a_vector_that_is_reached_again_is_lost_no_more(vectors: Float32Array, cut_off: CutOff):
    """What is inserted again is audited again, and forgotten as lost once a search finds it."""
    index = cut_off(HybridIndex.build(vectors, IndexOptions(ef_search=50)), [7])
    audited(index)
    index.add(np.arange(10), vectors[:10])
    for _ in range(VECTORS // 10):
        index.add(np.array([7]), vectors[[7]])
        audited(index)
    assert index.unreachable == 0


def test_a_graph_that_reaches_too_few_for_one_search():
    """Where even a whole candidate list can't be filled, vectors are searched for one by one."""
    vectors = unit_vectors(np.random.default_rng(3).standard_normal((40, DIMENSION)).astype(np.float32))
    index = HybridIndex.build(vectors, IndexOptions(ef_search=100))
    index.remove(np.arange(20))
    assert audited(index) == []


def test_what_was_not_found():
    """A label is lost where it is not among those found and something found is farther than it."""
    found = np.array([[1, 2], [2, 3], [4, 5]])
    scores = np.array([[1, 0.5], [0.9, 0.5], [1, 1]], np.float32)
    assert not_found(np.array([1, 9, 6]), np.ones(3, np.float32), found, scores).tolist() == [9]


def test_lost_vectors_take_their_places():
    """As many are answered as before, best first, and one that was come across is not told twice."""
    hits = Hits(np.array([[1, 2], [3, 7]]), np.array([[0.9, 0.1], [0.8, 0.7]], np.float32), "approximate")
    joined = with_lost(hits, np.array([7, 8]), np.array([[0.5, 0.95], [0.7, 0.2]], np.float32))
    assert joined.labels.tolist() == [[8, 1], [3, 7]]
    assert joined.scores == pytest.approx(np.array([[0.95, 0.9], [0.8, 0.7]]))
    assert with_lost(hits, np.array([8]), np.array([[0.0], [0.1]], np.float32)) is hits


def test_rounds_go_on_where_they_ended():
    """The audit goes round the table, from where it was, no further than is due."""
    reach = AuditState(at=8, due=5)
    rows = reach.next(4, 10)
    assert rows.tolist() == [8, 9, 0, 1]
    reach = reach.after(rows, np.array([9]), 10)
    assert (reach.at, reach.due, reach.lost.tolist()) == (2, 1, [9])
    assert reach.next(4, 10).tolist() == [2]


def test_rows_that_came_since_go_first_and_as_many_older_ones_follow():
    """What is new is audited before the rotation goes on from where it was."""
    reach = AuditState(at=2, due=0).grown(12, 2)
    rows = reach.next(4, 12)
    assert rows.tolist() == [10, 11]
    reach = reach.after(rows, np.array([11]), 12)
    assert (reach.at, reach.due, reach.fresh, reach.lost.tolist()) == (2, 2, 0, [11])
    assert reach.next(4, 12).tolist() == [2, 3]
    assert (AuditState().grown(20, 50).due, AuditState().grown(20, 50).fresh) == (20, 20)


def test_an_index_without_vectors_has_nothing_due():
    """Nothing is audited where nothing is."""
    assert HybridIndex.build(np.empty((0, DIMENSION), np.float32)).audit(64).tolist() == []
    assert FlatIndex(np.ones((2, 3), np.float32)).read(np.array([1])).tolist() == [[1, 1, 1]]

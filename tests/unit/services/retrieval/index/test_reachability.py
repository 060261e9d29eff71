"""The audit for unreachable vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from common.arrays import Float32Array, unit_vectors
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.reachability import AuditState, merge_unreachable, not_found
from services.retrieval.index.vector_index import Hits
from testing.lossy_index import lossy_index

VECTORS, DIMENSION = 3_000, 16


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return random unit vectors."""
    return unit_vectors(np.random.default_rng(2).standard_normal((VECTORS, DIMENSION)).astype(np.float32))


def audited(index: HybridIndex, count: int = 64) -> list[int]:
    """Audit everything that is pending; returns what was not found."""
    lost: list[int] = []
    while index.audit_pending:
        lost += index.audit(count).tolist()
    return lost


def search(index: HybridIndex, vectors: Float32Array, labels: Sequence[int], k: int = 5) -> list[int]:
    """Return what is nearest to each of the vectors."""
    hits = index.search(vectors[list(labels)], k)
    assert hits.method == "approximate"
    assert (np.diff(hits.scores, axis=1) <= 0).all()
    assert all(len(set(row)) == k for row in hits.labels.tolist())
    return hits.labels[:, 0].tolist()


def test_unreachable_vectors_are_found_after_the_audit(vectors: Float32Array):
    """The audit reports exactly the unreachable vectors, and every search finds them afterwards."""
    lost = [7, 1_200, 2_999]
    index = lossy_index(vectors, lost, IndexOptions(ef_search=50))
    assert not set(search(index, vectors, lost)) & set(lost)
    assert audited(index) == lost
    assert index.unreachable == 3
    assert search(index, vectors, lost) == lost
    assert search(index, vectors, [3, 4, 5]) == [3, 4, 5]


def test_unreachable_vectors_obey_filters_and_removals(vectors: Float32Array):
    """An unreachable vector is found only if a filter allows it and it was not removed."""
    index = lossy_index(vectors, [7, 8], IndexOptions(ef_search=50))
    audited(index)
    allowed = np.ones(VECTORS, dtype=np.bool_)
    allowed[7] = False
    hits = index.search(vectors[[7, 8]], 5, allowed)
    assert hits.method == "approximate"
    assert (hits.labels[0] != 7).all()
    assert hits.labels[1, 0] == 8
    index.remove(np.array([8]))
    assert 8 not in index.search(vectors[[8]], 5).labels


def test_a_sound_graph_has_no_unreachable_vectors(vectors: Float32Array):
    """If every vector is reached, the audit ends after one round and reports nothing."""
    index = HybridIndex.build(vectors, IndexOptions(ef_search=100))
    assert index.audit_pending == VECTORS
    assert audited(index, 700) == []
    assert (index.unreachable, index.audit_pending) == (0, 0)


def test_duplicates_are_not_unreachable():
    """If more vectors are equal than a search looks at, none of them counts as unreachable."""
    same = np.tile(unit_vectors(np.ones((1, DIMENSION), np.float32)), (1_500, 1))
    index = HybridIndex.build(same, IndexOptions(ef_search=20))
    assert audited(index) == []


def test_growth_is_audited_too(vectors: Float32Array):
    """Each new vector is pending, and as many older ones; rows that are not live are skipped."""
    index = HybridIndex.build(vectors[:1_000], IndexOptions(ef_search=100))
    audited(index)
    is_live = np.ones(1_200, dtype=np.bool_)
    is_live[1_100:] = False
    grown = index.extended(vectors[:1_200], is_live)
    assert grown.audit_pending == 200
    assert audited(grown) == []
    grown.add(np.arange(1_200, 1_210), vectors[1_200:1_210])
    assert grown.audit_pending == 20


def test_a_vector_that_is_reached_again_is_forgotten(vectors: Float32Array):
    """A vector that is inserted again is audited again, and no longer unreachable once a search finds it."""
    index = lossy_index(vectors, [7], IndexOptions(ef_search=50), heals=True)
    audited(index)
    index.add(np.arange(10), vectors[:10])
    for _ in range(VECTORS // 10):
        index.add(np.array([7]), vectors[[7]])
        audited(index)
    assert index.unreachable == 0


def test_a_graph_that_reaches_too_few_for_one_search():
    """If not even one candidate list can be filled, the audit searches for the nearest only."""
    vectors = unit_vectors(np.random.default_rng(3).standard_normal((40, DIMENSION)).astype(np.float32))
    index = HybridIndex.build(vectors, IndexOptions(ef_search=100))
    index.remove(np.arange(20))
    assert audited(index) == []


def test_what_was_not_found():
    """A label was not found if it is missing from the hits although one of them is farther away."""
    found = np.array([[1, 2], [2, 3], [4, 5]])
    scores = np.array([[1, 0.5], [0.9, 0.5], [1, 1]], np.float32)
    assert not_found(np.array([1, 9, 6]), np.ones(3, np.float32), found, scores).tolist() == [9]


def test_unreachable_vectors_replace_worse_hits():
    """There are as many hits as before, best first, and none twice."""
    hits = Hits(np.array([[1, 2], [3, 7]]), np.array([[0.9, 0.1], [0.8, 0.7]], np.float32), "approximate")
    joined = merge_unreachable(hits, np.array([7, 8]), np.array([[0.5, 0.95], [0.7, 0.2]], np.float32))
    assert joined.labels.tolist() == [[8, 1], [3, 7]]
    assert joined.scores == pytest.approx(np.array([[0.95, 0.9], [0.8, 0.7]]))
    assert merge_unreachable(hits, np.array([8]), np.array([[0.0], [0.1]], np.float32)) is hits


def test_the_audit_continues_where_it_ended():
    """The audit goes round the table from its last row, and no further than what is pending."""
    state = AuditState(next_row=8, pending=5)
    rows = state.next_rows(4, 10)
    assert rows.tolist() == [8, 9, 0, 1]
    state = state.after(rows, np.array([9]), 10)
    assert (state.next_row, state.pending, state.unreachable.tolist()) == (2, 1, [9])
    assert state.next_rows(4, 10).tolist() == [2]


def test_new_rows_are_audited_first():
    """New rows are audited before the rotation continues, and as many older ones follow."""
    state = AuditState(next_row=2, pending=0).extended(12, 2)
    rows = state.next_rows(4, 12)
    assert rows.tolist() == [10, 11]
    state = state.after(rows, np.array([11]), 12)
    assert (state.next_row, state.pending, state.pending_new, state.unreachable.tolist()) == (2, 2, 0, [11])
    assert state.next_rows(4, 12).tolist() == [2, 3]
    extended = AuditState().extended(20, 50)
    assert (extended.pending, extended.pending_new) == (20, 20)


def test_an_empty_index_has_nothing_pending():
    """An index without vectors audits nothing."""
    assert HybridIndex.build(np.empty((0, DIMENSION), np.float32)).audit(64).tolist() == []

"""What every implementation of `VectorIndex` holds to, compared with an exact oracle on planted data."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.arrays import BoolMask, Float32Array, RowIndices, unit_vectors
from common.errors import InvalidRequest
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.index.flat_index import FlatIndex
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.vector_index import VectorIndex

VECTORS = 2_000
DIMENSION = 16
Make = Callable[[Float32Array], VectorIndex]
Load = Callable[[Path], VectorIndex]
# A candidate list so short that the graph is walked, also behind a filter that leaves three quarters.
SHORT = IndexOptions(ef_construction=100, ef_search=100, threads=1)
IMPLEMENTATIONS = {
    "exact": (FlatIndex, FlatIndex.load),
    "hnsw": (lambda vectors: HybridIndex.build(vectors, SHORT), HybridIndex.load),
    "pq": (lambda vectors: HybridIndex.build(vectors, replace(SHORT, kind="pq")), HybridIndex.load),
}


@pytest.fixture(scope="session")
def milvus_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the file of the embedded Milvus, which runs as long as one client is open."""
    pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed; pip install '.[milvus]'")
    pytest.importorskip("milvus_lite", reason="the embedded Milvus is not installed; pip install milvus-lite")
    file = str(tmp_path_factory.mktemp("milvus") / "vectors.db")
    client = pymilvus.MilvusClient(file)
    yield file
    client.close()


@pytest.fixture(params=[*sorted(IMPLEMENTATIONS), "milvus"])
def implementation(request: pytest.FixtureRequest) -> Iterator[tuple[Make, Load]]:
    """Return how one implementation is made and loaded."""
    if request.param != "milvus":
        yield IMPLEMENTATIONS[request.param]
        return
    file = request.getfixturevalue("milvus_file")
    from services.retrieval.index.milvus_index import MilvusIndex, MilvusOptions  # noqa: PLC0415 - optional

    opened: list[MilvusIndex] = []

    def options() -> MilvusOptions:
        return MilvusOptions(file, f"c{uuid.uuid4().hex}", ef_construction=100, ef_search=100)

    def make(vectors: Float32Array) -> VectorIndex:
        opened.append(MilvusIndex.build(vectors, options()))
        return opened[-1]

    def load(folder: Path) -> VectorIndex:
        opened.append(MilvusIndex.load(folder, options()))
        return opened[-1]

    yield make, load
    for index in opened:
        index.close()


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return unit vectors in 40 clusters, none like another."""
    generator = np.random.default_rng(3)
    centres = generator.standard_normal((40, DIMENSION))
    spread = 0.5 * generator.standard_normal((VECTORS, DIMENSION))
    return unit_vectors((centres[generator.integers(0, 40, VECTORS)] + spread).astype(np.float32))


@pytest.fixture
def index(implementation: tuple[Make, Load], vectors: Float32Array) -> VectorIndex:
    """Return an index over the vectors."""
    return implementation[0](vectors)


def oracle(vectors: Float32Array, query: Float32Array, k: int, allowed: BoolMask | None = None) -> RowIndices:
    """Return the labels of the ``k`` allowed vectors nearest to one query."""
    scores = np.where(np.ones(len(vectors), bool) if allowed is None else allowed, vectors @ query, -np.inf)
    return np.argsort(-scores)[: min(k, int(np.isfinite(scores).sum()))]


def recall(found: RowIndices, wanted: RowIndices) -> float:
    """Return the share of the wanted labels that were found."""
    return len(np.intersect1d(found, wanted)) / len(wanted)


def test_a_vector_is_its_own_nearest(index: VectorIndex, vectors: Float32Array):
    """A search around a vector of the index finds it first, with a score of 1."""
    hits = index.search(vectors[[5, 1_700]], 3)
    assert hits.labels[:, 0].tolist() == [5, 1_700]
    assert hits.scores[:, 0] == pytest.approx(1, abs=1e-5)


def test_the_nearest_come_best_first(index: VectorIndex, vectors: Float32Array):
    """Nearly all of the nearest are found, with their inner products, falling."""
    queries = vectors[::100]
    hits = index.search(queries, 50)
    assert np.all(np.diff(hits.scores, axis=1) <= 1e-6)
    assert (
        np.mean([recall(found, oracle(vectors, query, 50)) for found, query in zip(hits.labels, queries, strict=True)])
        > 0.97
    )
    assert hits.scores[3] == pytest.approx(vectors[hits.labels[3]] @ queries[3], abs=1e-5)


def test_shapes_and_types(index: VectorIndex, vectors: Float32Array):
    """Labels are int64 and scores float32, one row a query, one column a neighbour, each neighbour once."""
    hits = index.search(vectors[:7], 20)
    assert (hits.labels.shape, hits.labels.dtype) == ((7, 20), np.int64)
    assert (hits.scores.shape, hits.scores.dtype) == ((7, 20), np.float32)
    assert all(len(set(row)) == 20 for row in hits.labels.tolist())


def test_more_than_there_are(index: VectorIndex, vectors: Float32Array):
    """A search for more vectors than there are finds all of them."""
    hits = index.search(vectors[:1], VECTORS + 500)
    assert sorted(hits.labels[0].tolist()) == list(range(VECTORS))


@pytest.mark.parametrize("count", [1, 30, 300, 1_500, 1_900, VECTORS])
def test_filters_of_every_selectivity(index: VectorIndex, vectors: Float32Array, count: int):
    """Whatever share a filter leaves, min(k, allowed) vectors are found, all allowed, nearly all the nearest."""
    allowed = np.zeros(VECTORS, dtype=np.bool_)
    allowed[np.random.default_rng(count).choice(VECTORS, count, replace=False)] = True
    queries = vectors[::100]
    hits = index.search(queries, 40, allowed)
    assert hits.labels.shape == (len(queries), min(40, count))
    assert allowed[hits.labels].all()
    wanted = [oracle(vectors, query, 40, allowed) for query in queries]
    assert np.mean([recall(found, want) for found, want in zip(hits.labels, wanted, strict=True)]) > 0.97


def test_a_filter_far_from_the_query(index: VectorIndex, vectors: Float32Array):
    """A filter that allows just what is farthest from the query still gets as many as asked for, and the right ones."""
    allowed = vectors @ vectors[0] < np.quantile(vectors @ vectors[0], 0.4)
    hits = index.search(vectors[:1], 100, allowed)
    assert recall(hits.labels[0], oracle(vectors, vectors[0], 100, allowed)) == 1


def test_a_filter_that_allows_nothing(index: VectorIndex, vectors: Float32Array):
    """A filter that allows nothing finds nothing."""
    assert index.search(vectors[:2], 10, np.zeros(VECTORS, dtype=np.bool_)).labels.shape == (2, 0)


def test_labels_past_the_filter_are_not_allowed(index: VectorIndex, vectors: Float32Array):
    """A mask shorter than the table allows nothing past its end."""
    assert index.search(vectors[-1:], 50, np.ones(40, dtype=np.bool_)).labels.max() < 40


def test_added_vectors_are_found(index: VectorIndex, vectors: Float32Array):
    """What was added is found by the next search, together with the earlier vectors."""
    new = unit_vectors(-vectors[:3])
    index.add(np.arange(VECTORS, VECTORS + 3), new)
    assert len(index) == VECTORS + 3
    assert index.search(new, 1).labels[:, 0].tolist() == [VECTORS, VECTORS + 1, VECTORS + 2]
    assert index.search(vectors[9:10], 1).labels[0, 0] == 9


def test_vectors_are_added_past_a_gap(index: VectorIndex, vectors: Float32Array):
    """Labels may leave gaps, and nothing is found in them."""
    index.add(np.array([VECTORS + 200]), unit_vectors(-vectors[:1]))
    assert len(index) == VECTORS + 1
    assert set(index.search(vectors[:1], VECTORS + 200).labels[0].tolist()) == {*range(VECTORS), VECTORS + 200}


def test_adding_replaces(index: VectorIndex, vectors: Float32Array):
    """A label added again is found at its new place alone, and the caller's array stays as it was."""
    before, far = vectors[7].copy(), unit_vectors(-vectors[7:8])
    index.add(np.array([7]), far)
    assert len(index) == VECTORS
    assert index.search(far, 1).labels[0, 0] == 7
    assert index.search(before[np.newaxis], 1).labels[0, 0] != 7
    assert np.array_equal(vectors[7], before)


def test_removed_vectors_are_not_found(index: VectorIndex, vectors: Float32Array):
    """What was removed is not found, also where a filter allows it; unknown labels are ignored."""
    index.remove(np.array([4, 5, 5, VECTORS + 9]))
    assert len(index) == VECTORS - 2
    for allowed in (None, np.ones(VECTORS, dtype=np.bool_)):
        assert not {4, 5} & set(index.search(vectors[4:6], 100, allowed).labels.ravel().tolist())


def test_removed_vectors_can_come_back(index: VectorIndex, vectors: Float32Array):
    """A label that was removed can be added again."""
    index.remove(np.array([4]))
    index.add(np.array([4]), vectors[4:5])
    assert len(index) == VECTORS
    assert index.search(vectors[4:5], 1).labels[0, 0] == 4


def test_fewer_left_than_asked_for(index: VectorIndex, vectors: Float32Array):
    """Where nearly everything was removed, a search finds all that is left instead of failing."""
    index.remove(np.arange(5, VECTORS))
    assert sorted(index.search(vectors[100:101], 50).labels[0].tolist()) == [0, 1, 2, 3, 4]


def test_everything_removed(index: VectorIndex, vectors: Float32Array):
    """An index from which everything was removed finds nothing."""
    index.remove(np.arange(VECTORS))
    assert len(index) == 0
    assert index.search(vectors[:1], 5).labels.shape == (1, 0)


def test_an_empty_index(implementation: tuple[Make, Load], vectors: Float32Array):
    """An index without vectors finds nothing, and can be added to."""
    index = implementation[0](np.empty((0, DIMENSION), dtype=np.float32))
    assert index.search(vectors[:1], 5).labels.shape == (1, 0)
    index.add(np.array([0]), vectors[:1])
    assert index.search(vectors[:1], 5).labels.tolist() == [[0]]


def test_what_is_saved_can_be_loaded(
    implementation: tuple[Make, Load], index: VectorIndex, vectors: Float32Array, tmp_path: Path
):
    """A saved index, removed and added vectors included, finds the same once loaded, and can be changed further."""
    index.remove(np.array([3]))
    index.add(np.array([VECTORS]), unit_vectors(-vectors[3:4]))
    index.save(tmp_path)
    loaded = implementation[1](tmp_path)
    assert (len(loaded), loaded.dimension) == (VECTORS, DIMENSION)
    assert np.array_equal(loaded.search(vectors[:9], 30).labels, index.search(vectors[:9], 30).labels)
    loaded.add(np.array([3]), vectors[3:4])
    assert loaded.search(vectors[3:4], 1).labels[0, 0] == 3


def test_what_lost_its_end_can_be_saved(
    implementation: tuple[Make, Load], index: VectorIndex, vectors: Float32Array, tmp_path: Path
):
    """An index whose last vectors were removed is loaded without them."""
    index.remove(np.arange(VECTORS - 5, VECTORS))
    index.save(tmp_path)
    loaded = implementation[1](tmp_path)
    assert len(loaded) == VECTORS - 5
    assert loaded.search(vectors[-1:], VECTORS).labels.max() < VECTORS - 5


@pytest.mark.parametrize("shape", [(DIMENSION,), (1, DIMENSION + 1), (2, 3, DIMENSION)])
def test_another_dimension_is_refused(index: VectorIndex, shape: tuple[int, ...]):
    """Queries and vectors of another shape are refused with the shape that is right."""
    with pytest.raises(InvalidRequest, match=rf"vectors: shape .* is not \[queries, {DIMENSION}\]"):
        index.search(np.zeros(shape, dtype=np.float32), 1)
    with pytest.raises(InvalidRequest, match="vectors: shape"):
        index.add(np.array([1]), np.zeros(shape, dtype=np.float32))


def test_a_k_below_one_is_refused(index: VectorIndex, vectors: Float32Array):
    """A search for no neighbours is refused."""
    with pytest.raises(InvalidRequest, match="k: 0 is below 1"):
        index.search(vectors[:1], 0)


def test_searching_while_changing(index: VectorIndex, vectors: Float32Array):
    """Searches during changes by another thread never fail, never come up short, never find what was removed."""
    index.remove(np.arange(500))
    failures: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                labels = index.search(vectors[::200], 20).labels
                assert labels.shape == (10, 20)
                assert labels.min() >= 500
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    for label in range(VECTORS, VECTORS + 100):
        index.add(np.array([label]), unit_vectors(-vectors[label - VECTORS : label - VECTORS + 1]))
        index.remove(np.array([label - 20]))
    done.set()
    for reader in readers:
        reader.join()
    assert not failures

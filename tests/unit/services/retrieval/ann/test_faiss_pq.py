"""Vectors as codes that are scanned: what is found, grown, left behind, and files that can't be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from common.arrays import Float32Array, RowIndices, unit_vectors
from common.errors import BadRelease
from common.release.layout import PQ_INDEX, VECTORS
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.ann.faiss_pq import LABELS, FaissPqFastScan
from services.retrieval.index.hybrid_index import HybridIndex

ROWS, DIMENSION = 3_000, 128
OPTIONS = IndexOptions(ef_search=60, threads=1, kind="pq")


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return unit vectors that spread in some directions more than in others, as embeddings do."""
    generator = np.random.default_rng(4)
    return unit_vectors(
        (generator.standard_normal((ROWS, DIMENSION)) * np.geomspace(4, 0.2, DIMENSION)).astype(np.float32)
    )


@pytest.fixture
def saved(vectors: Float32Array, tmp_path: Path) -> Path:
    """Return a folder with codes."""
    HybridIndex.build(vectors, OPTIONS).save(tmp_path)
    return tmp_path


def recall(index: HybridIndex, vectors: Float32Array, queries: Float32Array, k: int) -> float:
    """Return the share of the nearest that are found."""
    hits = index.search(queries, k)
    assert hits.method == "approximate"
    exact = np.argsort(-queries @ vectors.T, axis=1)[:, :k]
    return float(np.mean([len(np.intersect1d(*rows)) for rows in zip(hits.labels, exact, strict=True)])) / k


def test_codes_find_what_exact_search_finds(vectors: Float32Array, saved: Path):
    """An eighth of the table's room is enough, also for queries that are no vectors of it."""
    index = HybridIndex.load(saved)
    queries = unit_vectors(
        vectors[:100] + 0.05 * np.random.default_rng(1).standard_normal((100, DIMENSION)).astype(np.float32)
    )
    assert (index.index_type, len(index)) == ("pq", ROWS)
    assert min(recall(index, vectors, queries, k) for k in (1, 10, 100)) > 0.98
    assert {file.name for file in (saved / "index").iterdir()} == {"pq.faiss", "vectors.npy"}
    assert (saved / PQ_INDEX).stat().st_size < (saved / VECTORS).stat().st_size / 8


def test_the_rotation_is_worth_it(vectors: Float32Array, monkeypatch: pytest.MonkeyPatch):
    """Without it, the codes of the narrow directions have nothing to tell, and less is found."""
    rotated = recall(HybridIndex.build(vectors, OPTIONS), vectors, vectors[:200], 50)
    identity = faiss.LinearTransform(DIMENSION, DIMENSION)
    faiss.copy_array_to_vector(np.eye(DIMENSION, dtype=np.float32).ravel(), identity.A)
    identity.is_trained = True
    monkeypatch.setattr("services.retrieval.ann.faiss_pq._balanced_rotation", lambda *_: identity)
    assert recall(HybridIndex.build(vectors, OPTIONS), vectors, vectors[:200], 50) < rotated - 0.01


def test_the_same_vectors_become_the_same_codes(vectors: Float32Array, saved: Path, tmp_path: Path):
    """A build can be repeated byte by byte."""
    again = tmp_path / "again"
    HybridIndex.build(vectors, OPTIONS).save(again)
    assert (again / PQ_INDEX).read_bytes() == (saved / PQ_INDEX).read_bytes()


@pytest.mark.parametrize("rows", [1, 3, 15, 16, 40])
@pytest.mark.parametrize("dimension", [1, 2, 5, 8])
def test_few_vectors_and_odd_dimensions(rows: int, dimension: int):
    """Fewer vectors than a code has values, and dimensions that no code divides, are found all the same."""
    table = unit_vectors(np.random.default_rng(rows).standard_normal((rows, dimension)).astype(np.float32))
    index = HybridIndex.build(table, IndexOptions(ef_search=20, kind="pq"))
    for k in (1, rows, rows + 1):
        hits = index.search(table, k)
        best = np.sort(table @ table.T, axis=1)[:, ::-1]
        assert np.allclose(hits.scores[:, :1], best[:, :1], atol=1e-6)
        assert (np.sort(hits.labels, axis=1)[:, -1] < rows).all()
        assert hits.labels.shape == (rows, min(k, rows))


def test_equal_vectors_are_coded_too():
    """Where no direction tells anything, nothing is divided by nothing."""
    same = np.tile(unit_vectors(np.ones((1, 8), np.float32)), (50, 1))
    index = HybridIndex.build(same, IndexOptions(ef_search=5, kind="pq"))
    assert np.allclose(index.search(same[:2], 3).scores, 1.0)


def test_places_left_behind_are_not_found(vectors: Float32Array, tmp_path: Path):
    """What was removed or replaced is found by nobody, as soon as it is and after a restart."""
    index = HybridIndex.build(vectors, OPTIONS)
    index.remove(np.arange(0, ROWS, 2))
    index.add(np.array([1, 4]), -vectors[[1, 4]])
    for each in (index, _loaded(index, tmp_path)):
        hits = each.search(vectors[:64], 20)
        assert hits.method == "approximate"
        assert set(hits.labels[hits.labels % 2 == 0].tolist()) <= {4}
        assert each.search(-vectors[[1, 4]], 1).labels[:, 0].tolist() == [1, 4]
        assert len(each) == ROWS // 2 + 1
    assert (tmp_path / LABELS).exists()


def test_where_too_little_is_left_all_is_compared(vectors: Float32Array):
    """A neighbourhood that was removed gives way to an exact answer."""
    index = HybridIndex.build(vectors, OPTIONS)
    near = np.argsort(-vectors @ vectors[0])[:1_200]
    index.remove(near)
    hits = index.search(vectors[:1], 20)
    left = np.setdiff1d(np.arange(ROWS), near)
    assert hits.method == "exact"
    assert set(hits.labels[0].tolist()) == set(left[np.argsort(-vectors[left] @ vectors[0])[:20]].tolist())


@pytest.mark.parametrize("excluded", [5, 60, 300, 900])
def test_what_lies_behind_what_is_excluded_is_found(vectors: Float32Array, excluded: int):
    """However many of the nearest may not be found, those that follow are as sure to be."""
    index, shares = HybridIndex.build(vectors, replace(OPTIONS, ef_search=120)), []
    for query in vectors[:40]:
        order = np.argsort(-vectors @ query)
        allowed = np.ones(ROWS, np.bool_)
        allowed[order[:excluded]] = False
        found = index.search(query[np.newaxis], 20, allowed).labels[0]
        shares.append(len(np.intersect1d(found, order[excluded : excluded + 20])) / 20)
    assert np.mean(shares) > 0.93


def test_what_scores_lowest_is_no_other_label():
    """Faiss leaves out what has the lowest score there is: nothing else is answered in its place."""
    table = unit_vectors(np.repeat(np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32), 300, axis=0))
    index = HybridIndex.build(table, IndexOptions(ef_search=20, kind="pq"))
    for _ in range(2):
        for k in (1, 300, 500, 598):
            for row in index.search(table[[0, 400]], k).labels:
                assert len(set(row.tolist())) == k
        index.remove(np.array([0, 599]))


def test_grown_and_rebuilt(vectors: Float32Array):
    """Codes learnt from some vectors take others, and a fresh index keeps what was learnt."""
    index = HybridIndex.build(vectors[:2_000], OPTIONS)
    grown = index.extended(vectors, np.ones(ROWS, np.bool_))
    assert recall(grown, vectors, vectors[-100:], 10) > 0.95
    odd = np.arange(1, ROWS, 2)
    rebuilt = _rebuilt(grown, odd, vectors)
    assert rebuilt.search(vectors[odd[:50]], 1).labels[:, 0].tolist() == odd[:50].tolist()


def test_nothing_is_added(vectors: Float32Array):
    """Adding no vectors changes nothing."""
    index = HybridIndex.build(vectors, OPTIONS)
    grown = index.extended(vectors, np.ones(ROWS, np.bool_))
    assert len(grown) == ROWS


def test_nothing_is_out_of_reach(vectors: Float32Array):
    """Where no links lead to vectors, there is nothing to audit, whatever comes."""
    index = HybridIndex.build(vectors[:2_000], OPTIONS)
    index.add(np.array([0, 2_000]), vectors[[0, 2_000]])
    for each in (index, index.extended(vectors, np.ones(ROWS, np.bool_))):
        assert (each.audit_pending, each.unreachable) == (0, 0)


def test_a_fresh_index_is_searched_before_it_has_anything(vectors: Float32Array):
    """Its codes are a copy, and finding nothing in it is no harm."""
    codes = FaissPqFastScan.empty(vectors, seed=1)
    codes.add(np.arange(ROWS), vectors)
    fresh = codes.new_empty(0)
    assert (len(fresh), fresh.search(vectors[:2], 1)) == (0, None)
    fresh.add(np.array([7]), vectors[:1])
    found = fresh.search(vectors[:1], 1)
    assert found is not None
    assert found[0].tolist() == [[7]]
    assert len(codes) == ROWS


def test_fewer_are_compared_where_effort_is_shed(vectors: Float32Array):
    """A shorter candidate list asks for fewer, but never for too few to choose from."""
    codes = FaissPqFastScan.empty(vectors, seed=1)
    codes.set_ef_search(300)
    much = codes.candidates_needed(100)
    codes.set_ef_search(100)
    assert 200 < codes.candidates_needed(100) < much
    assert codes.candidates_needed(1_000) > 2_000


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: _cut(folder / PQ_INDEX), f"{PQ_INDEX} can't be read"),
        (lambda folder: np.save(folder / LABELS, np.arange(7)), f"{PQ_INDEX} and {LABELS} differ in size"),
        (lambda folder: faiss.write_index(faiss.IndexFlatIP(DIMENSION), str(folder / PQ_INDEX)), "is no PQ index"),
        (lambda folder: np.save(folder / VECTORS, np.zeros((ROWS, 9), np.float32)), "no PQ index of 9 dimensions"),
        (lambda folder: np.save(folder / VECTORS, np.zeros((7, DIMENSION), np.float32)), "differ in size"),
    ],
)
def test_files_that_can_not_be_used(saved: Path, spoil: Callable[[Path], None], message: str):
    """A release whose codes are spoilt is refused, and the message names the file."""
    spoil(saved)
    with pytest.raises(BadRelease, match=message):
        HybridIndex.load(saved)


def _rebuilt(index: HybridIndex, labels: RowIndices, vectors: Float32Array) -> HybridIndex:
    rebuild = index.rebuild(labels, vectors)
    while (rebuilt := rebuild.advance()) is None:
        pass
    return rebuilt


def _loaded(index: HybridIndex, folder: Path) -> HybridIndex:
    index.save(folder)
    return HybridIndex.load(folder, ef_search=60)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])

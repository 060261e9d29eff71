"""Graphs of float16 and int8 vectors: what is walked, what is audited, and files that can't be used."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from common.arrays import Float32Array, unit_vectors
from common.errors import BadRelease
from common.release.layout import INDEX, ROUNDED_INDEX, ROUNDED_INDEX_SETTINGS, VECTORS
from services.retrieval.ann.ann_index import HnswOptions, VectorEncoding
from services.retrieval.ann.faiss_hnsw import LABELS, FaissHnswSqHeader
from services.retrieval.index.hybrid_index import HybridIndex

ROWS, DIMENSION = 2_000, 16


OPTIONS = HnswOptions(ef_construction=80, ef_search=50, threads=1, vectors="int8")


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return random unit vectors."""
    return unit_vectors(np.random.default_rng(2).standard_normal((ROWS, DIMENSION)).astype(np.float32))


@pytest.fixture(scope="module", params=["float16", "int8"])
def options(request: pytest.FixtureRequest) -> HnswOptions:
    """Return how a graph of each kind is built."""
    return replace(OPTIONS, vectors=request.param)


@pytest.fixture
def saved(vectors: Float32Array, tmp_path: Path) -> Path:
    """Return a folder with an int8 graph."""
    HybridIndex.build(vectors, OPTIONS).save(tmp_path)
    return tmp_path


def cut_off(index: HybridIndex, labels: Sequence[int]) -> None:
    """Take every link away that leads to some vectors; a vector's lie level by level, -1 behind the last."""
    hnsw = index._graph._index.hnsw
    links, offsets = faiss.vector_to_array(hnsw.neighbors), faiss.vector_to_array(hnsw.offsets).astype(int)
    widths = np.diff(faiss.vector_to_array(hnsw.cum_nneighbor_per_level))
    assert hnsw.entry_point not in labels, "searches begin there: choose others"
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        for width in widths.tolist():
            level = links[start : min(start + width, end)]
            kept = level[~np.isin(level, labels)]
            level[:] = -1
            level[: len(kept)] = kept
            start += width  # noqa: PLW2901 - the next level lies behind
    faiss.copy_array_to_vector(links, hnsw.neighbors)


def test_the_graph_is_walked_in_the_numbers_asked_for(vectors: Float32Array, options: HnswOptions, tmp_path: Path):
    """The index tells what it holds, takes less room for it, and finds nearly what exact search finds."""
    index = HybridIndex.build(vectors, options)
    hits = index.search(vectors[:50], 10)
    assert (index.numbers, hits.method) == (options.vectors, "approximate")
    exact = np.argsort(-vectors[:50] @ vectors.T, axis=1)[:, :10]
    assert np.mean([len(np.intersect1d(*rows)) for rows in zip(hits.labels, exact, strict=True)]) > 9.5
    index.save(tmp_path)
    assert {file.name for file in (tmp_path / "index").iterdir()} == {"rounded.faiss", "rounded.json", "vectors.npy"}
    links = 4 * (2 * 16 + 4)  # four bytes each, some levels above the lowest, and where they begin
    assert (tmp_path / ROUNDED_INDEX).stat().st_size / ROWS < {"float16": 2, "int8": 1}[options.vectors] * DIMENSION + (
        links + 20
    )


def test_a_search_asks_for_more_than_it_answers(vectors: Float32Array):
    """What rounding puts a little too far down is asked for too, and what it puts too high is not answered."""
    coarse = np.repeat(vectors, 2, axis=0)
    coarse[1::2] = unit_vectors(
        coarse[1::2] + 1e-3 * np.random.default_rng(5).standard_normal(coarse[1::2].shape).astype("f4")
    )
    index = HybridIndex.build(coarse, OPTIONS)
    hits = index.search(coarse[::40], 1)
    assert (hits.labels[:, 0] == np.arange(0, 2 * ROWS, 40)).mean() > 0.9


def test_answers_do_not_depend_on_batch_mates(vectors: Float32Array, options: HnswOptions):
    """A query finds the same alone as beside others, also behind a filter."""
    index = HybridIndex.build(vectors, options)
    for allowed in (None, np.random.default_rng(1).random(ROWS) < 0.7):
        together = index.search(vectors[:40], 9, allowed)
        assert together.method == "approximate"
        for number in range(40):
            alone = index.search(vectors[number : number + 1], 9, allowed)
            assert np.array_equal(alone.labels[0], together.labels[number])
            assert np.array_equal(alone.scores[0], together.scores[number])


def test_lost_vectors_are_audited(vectors: Float32Array, options: HnswOptions):
    """Vectors that no link leads to are what the audit finds, and every search finds them from then on."""
    lost = [7, 1_200, 1_999]
    index = HybridIndex.build(vectors, options)
    cut_off(index, lost)
    assert not set(index.search(vectors[lost], 5).labels[:, 0].tolist()) & set(lost)
    found: list[int] = []
    while index.audit_due:
        found += index.audit(64).tolist()
    assert found == lost
    hits = index.search(vectors[lost], 5)
    assert (hits.labels[:, 0].tolist(), hits.method) == (lost, "approximate")


def test_equal_vectors_are_not_lost(options: HnswOptions):
    """Where more vectors are equal than a search looks at, none of them counts as lost."""
    same = np.tile(unit_vectors(np.ones((1, DIMENSION), np.float32)), (700, 1))
    index = HybridIndex.build(same, replace(options, ef_search=20))
    while index.audit_due:
        assert index.audit(64).tolist() == []


def test_a_graph_built_anew_rounds_as_before(vectors: Float32Array, options: HnswOptions):
    """Without what was removed, the graph holds the same numbers and is found as well."""
    there = np.arange(0, ROWS, 2)
    index = HybridIndex.build(vectors, options).without_removed(there, vectors)
    hits = index.search(vectors[there[:100]], 1)
    assert (len(index), index.numbers, hits.method) == (len(there), options.vectors, "approximate")
    assert (hits.labels[:, 0] == there[:100]).all()


def test_a_label_given_twice_in_one_call_is_there_once(vectors: Float32Array, options: HnswOptions):
    """The later of two vectors for one label is the one that is found."""
    index = HybridIndex.build(vectors, options)
    far = -vectors[:1]
    index.add(np.array([9, 9]), unit_vectors(np.concatenate([far + 0.01, far])))
    hits = index.search(far, 3)
    assert hits.labels[0].tolist().count(9) == 1
    assert (hits.labels[0, 0], hits.scores[0, 0]) == (9, pytest.approx(1))
    assert len(index) == ROWS


def _cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def _settings(folder: Path, **changes: object) -> None:
    file = folder / ROUNDED_INDEX_SETTINGS
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _shorten(folder: Path, rows: int) -> None:
    np.save(folder / VECTORS, np.load(folder / VECTORS)[:rows])


def _narrow(folder: Path) -> None:
    np.save(folder / VECTORS, np.load(folder / VECTORS)[:, :9])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: _cut(folder / ROUNDED_INDEX), f"{ROUNDED_INDEX} can't be read"),
        (lambda folder: (folder / ROUNDED_INDEX_SETTINGS).write_text("{}"), f"{ROUNDED_INDEX_SETTINGS} can't be used"),
        (lambda folder: _settings(folder, scale=0.0), f"{ROUNDED_INDEX_SETTINGS} can't be used: .*scale"),
        (lambda folder: _settings(folder, vectors="float16"), f"{ROUNDED_INDEX} is no graph of float16"),
        (lambda folder: np.save(folder / LABELS, np.arange(7)), f"{ROUNDED_INDEX} and {LABELS} differ in size"),
        (lambda folder: _shorten(folder, ROWS - 1), f"{ROUNDED_INDEX} and {VECTORS} differ in size"),
        (_narrow, f"{ROUNDED_INDEX} has vectors of {DIMENSION} numbers and not of 9"),
    ],
)
def test_files_that_cannot_be_used(saved: Path, spoil: Callable[[Path], object], message: str):
    """A file that is damaged, or that does not fit the others, makes a bad release and is named."""
    spoil(saved)
    with pytest.raises(BadRelease, match=rf"(?s){message}.*; build the release again"):
        HybridIndex.load(saved)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: _cut(folder / INDEX), f"{INDEX} can't be read"),
        (lambda folder: _shorten(folder, ROWS - 1), f"{INDEX} and {VECTORS} differ in size"),
    ],
)
def test_a_float32_graph_that_cannot_be_used(
    vectors: Float32Array, tmp_path: Path, spoil: Callable[[Path], object], message: str
):
    """The same holds for hnswlib's file."""
    HybridIndex.build(vectors, replace(OPTIONS, vectors="float32")).save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(BadRelease, match=message):
        HybridIndex.load(tmp_path)


@pytest.mark.parametrize("numbers", ["float16", "int8"])
def test_nothing_to_round(numbers: VectorEncoding):
    """A table without numbers, or with nothing but zeros, is rounded to itself."""
    for table in (np.empty((0, 3), np.float32), np.zeros((2, 3), np.float32)):
        assert np.array_equal(FaissHnswSqHeader.of(numbers, table).apply(table), table)

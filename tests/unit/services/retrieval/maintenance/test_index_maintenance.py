"""A first stage over thousands of items, whose graphs lose vectors and are built anew while others search."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from common.arrays import Float32Array, RowIndices, unit_vectors
from common.release.catalogue import SCHEMA, Catalogue
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.index.vector_index import VectorIndex
from services.retrieval.maintenance.recall_monitor import RecallSample, recall

ITEMS, DIMENSION, K = 4_000, 24, 20


# Deleted while others search: more than the three tenths at which the graph is built anew.
GONE = 1_400


CutOff = Callable[[VectorIndex, Sequence[int]], HybridIndex]


OPTIONS = FirstStageOptions(depth=K, threads=1, audit_share=0)


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return random unit vectors."""
    return unit_vectors(np.random.default_rng(8).standard_normal((ITEMS, DIMENSION)).astype(np.float32))


@pytest.fixture
def many_parts(vectors: Float32Array, new_encoder: Callable[..., object]) -> ReleaseArtifacts:
    """Return a release of thousands of items, found by their vectors alone."""
    names = [f"item-{number}" for number in range(ITEMS)]
    columns: dict[str, list[Any]] = {name: [None] * ITEMS for name in SCHEMA.names}
    columns |= dict.fromkeys(("item_id", "title", "text"), names)
    columns |= {"available": [True] * ITEMS, "token_ids": [[1]] * ITEMS}
    return ReleaseArtifacts(
        catalogue=Catalogue(pa.table(columns, schema=SCHEMA)),
        vectors=vectors,
        vector_of_item=np.arange(ITEMS),
        index=HybridIndex.build(vectors, IndexOptions(ef_construction=80, ef_search=60)),
        popularity=np.zeros(ITEMS, np.float32),
        graphs={},
        settings=FirstStageSettings.model_validate({"sources": {"semantic": {}}}),
        encoder=new_encoder(),  # type: ignore[arg-type]
        encoder_id="words",
    )


@pytest.fixture
def stage(many_parts: ReleaseArtifacts, feed: ChangeFeed) -> Iterator[FirstStage]:
    """Return a first stage over them."""
    stage = FirstStage(many_parts, OPTIONS, feed)
    yield stage
    stage.close()


def ask(stage: FirstStage, vector: Float32Array) -> Candidates:
    """Search around a vector."""
    return stage.retrieve([Request(vector=vector, limit=K)])[0]


def recall_of(stage: FirstStage, vector: Float32Array, answer: Candidates) -> float:
    """Return which share of what is nearest was found, in the state of the catalogue that was searched."""
    allowed = stage._filter.allowed(answer.view, None)
    exact = stage._nearest.exact(vector, K, allowed)
    scores = answer.source_scores[:, 0]
    return recall(RecallSample(vector, K, allowed, exact._replace(rows=answer.rows, scores=scores)), exact)


def test_few_lost_vectors_are_found_by_comparing_them(
    many_parts: ReleaseArtifacts, feed: ChangeFeed, vectors: Float32Array, cut_off: CutOff
):
    """Items that no link leads to are counted, and found from then on; the graph stays."""
    lost = [40, 400, 3_999]
    cut_off(many_parts.index, lost)
    stage = FirstStage(many_parts, OPTIONS, feed)
    try:
        assert not any(f"item-{number}" in ask(stage, vectors[number]).item_ids for number in lost)
        assert stage.audit_due == ITEMS
        stage.audit()
        assert (stage.unreachable, stage.audit_due) == (3, 0)
        assert [ask(stage, vectors[number]).item_ids[0] for number in lost] == [f"item-{number}" for number in lost]
        assert stage._nearest.index is many_parts.index
    finally:
        stage.close()


def test_a_graph_that_lost_many_vectors_is_built_anew(
    many_parts: ReleaseArtifacts,
    feed: ChangeFeed,
    vectors: Float32Array,
    cut_off: CutOff,
    capsys: pytest.CaptureFixture[str],
):
    """Past a share of lost vectors a fresh graph takes the old one's place, once, and is audited in its turn."""
    lost = list(range(1_000, 1_200))
    cut_off(many_parts.index, lost)
    stage = FirstStage(many_parts, OPTIONS, feed)
    try:
        stage.audit()
        assert stage._nearest.index is not many_parts.index
        assert (stage.unreachable, stage.audit_due) == (0, 0)
        assert [ask(stage, vectors[number]).item_ids[0] for number in lost[:5]] == [f"item-{n}" for n in lost[:5]]
        second = stage._nearest.index
        assert isinstance(second, HybridIndex)
        second._reach = second._reach._replace(due=ITEMS)
        cut_off(second, lost)
        stage.audit()
        assert stage._nearest.index is second
        assert stage.unreachable == len(lost)
        assert ask(stage, vectors[1_000]).item_ids[0] == "item-1000"
    finally:
        stage.close()
    assert "the graph does not lead to all vectors" in capsys.readouterr().out


def test_added_items_do_not_wait_for_a_graph_that_is_built_anew(
    stage: FirstStage, vectors: Float32Array, monkeypatch: pytest.MonkeyPatch
):
    """What is added while the release's graph is built anew gets into its own graph meanwhile, part by part."""
    built, grown, moved = HybridIndex.without_removed, list[int](), unit_vectors(-vectors[:1_000])

    def building(
        index: HybridIndex, labels: RowIndices, table: Float32Array, between: Callable[[], object]
    ) -> HybridIndex:
        stage.upsert([Item(f"new-{number}", f"new {number}", vector=moved[number]) for number in range(1_000)])

        def then() -> None:
            between()
            grown.append(stage.view.added.graph.rows)

        return built(index, labels, table, then)

    monkeypatch.setattr(HybridIndex, "without_removed", building)
    for start in range(0, GONE, 700):
        stage.delete([f"item-{number}" for number in range(start, start + 700)])
    stage.tend()
    assert grown == [1_000, 1_000, 1_000]
    assert ask(stage, moved[5]).item_ids[0] == "new-5"


def test_the_graph_of_added_items_is_audited(stage: FirstStage, vectors: Float32Array, cut_off: CutOff):
    """Items that came since the release, and that their graph lost, are found again."""
    moved = unit_vectors(-vectors[:2_000])
    for start in range(0, 2_000, 1_000):
        part = range(start, start + 1_000)
        stage.upsert([Item(f"new-{number}", f"new {number}", vector=moved[number]) for number in part])
    stage.tend()
    graph = stage.view.added.graph.index
    assert graph.rows == 2_000
    graph.ef_search = 60
    cut_off(graph, [77])
    assert "new-77" not in ask(stage, moved[77]).item_ids
    stage.audit()
    assert stage.unreachable == 1
    assert ask(stage, moved[77]).item_ids[0] == "new-77"


def test_the_audit_goes_on_in_the_background(many_parts: ReleaseArtifacts, feed: ChangeFeed):
    """Nobody has to ask for the audit."""
    stage = FirstStage(many_parts, FirstStageOptions(depth=K, threads=1, audit_share=1), feed)
    try:
        ended = threading.Event()
        while stage.audit_due and not ended.wait(0.01):
            pass
        assert stage.unreachable == 0
    finally:
        stage.close()


def test_searching_while_the_graph_is_built_anew(stage: FirstStage, vectors: Float32Array):
    """Searches beside deletions and the new graph that they call for never fail, find what is nearest and nothing gone.

    Whatever a call that returned before a search began has deleted is not found by it.
    """
    before = stage._nearest.index
    gone: list[int] = []
    shares: list[float] = []
    wrong: list[str] = []
    done = threading.Event()

    def search(seed: int) -> None:
        generator = np.random.default_rng(seed)
        while not done.is_set():
            deleted = {f"item-{number}" for number in gone[:]}
            vector = vectors[generator.integers(ITEMS)]
            try:
                answer = ask(stage, vector)
            except Exception as error:  # noqa: BLE001 - counted, whatever it is
                wrong.append(repr(error))
                continue
            wrong.extend(deleted & set(answer.item_ids))
            if len(answer) != K:
                wrong.append(f"{len(answer)} found")
            shares.append(recall_of(stage, vector, answer))

    searchers = [threading.Thread(target=search, args=(seed,)) for seed in range(2)]
    for searcher in searchers:
        searcher.start()
    order = np.random.default_rng(1).permutation(ITEMS)[:GONE].tolist()
    for start in range(0, GONE, 50):
        part = order[start : start + 50]
        stage.delete([f"item-{number}" for number in part])
        gone.extend(part)
    stage.tend()
    done.set()
    for searcher in searchers:
        searcher.join()
    assert not wrong
    assert len(shares) > 20
    assert np.mean(shares) > 0.97
    assert stage._nearest.index is not before
    assert len(stage._nearest.index) < ITEMS
    left = sorted(set(range(ITEMS)) - set(order))
    assert np.mean([recall_of(stage, vectors[row], ask(stage, vectors[row])) for row in left[::100]]) > 0.97

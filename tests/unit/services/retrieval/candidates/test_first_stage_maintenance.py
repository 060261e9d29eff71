"""A first stage over thousands of items, maintained in the background while others search."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from common.arrays import Float32Array, unit_vectors
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.request import Request
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.encoding.text_encoder import TextEncoder
from services.retrieval.index.hybrid_index import HybridIndex
from testing.lossy_index import lossy_index
from testing.many_items import many_items, recall_of

ITEMS, DIMENSION, K = 4_000, 24, 20
# Deleted while others search: more than the three tenths at which the index is rebuilt.
DELETED = 1_400
INDEX_OPTIONS = IndexOptions(ef_construction=80, ef_search=60)
OPTIONS = FirstStageOptions(depth=K, threads=1, audit_share=0)


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return random unit vectors."""
    return unit_vectors(np.random.default_rng(8).standard_normal((ITEMS, DIMENSION)).astype(np.float32))


@pytest.fixture
def artifacts(vectors: Float32Array, new_encoder: Callable[..., TextEncoder]) -> ReleaseArtifacts:
    """Return a release with an item per vector."""
    return many_items(HybridIndex.build(vectors, INDEX_OPTIONS), vectors, new_encoder())


@pytest.fixture
def stage(artifacts: ReleaseArtifacts, feed: ChangeFeed) -> Iterator[FirstStage]:
    """Return a first stage over it."""
    stage = FirstStage(artifacts, OPTIONS, feed)
    yield stage
    stage.close()


def search(stage: FirstStage, vector: Float32Array) -> Candidates:
    """Search around a vector."""
    return stage.retrieve([Request(vector=vector, limit=K)])[0]


def test_the_audit_runs_in_the_background(
    vectors: Float32Array, new_encoder: Callable[..., TextEncoder], feed: ChangeFeed
):
    """Nobody has to call the audit for unreachable items to be found."""
    index = lossy_index(vectors, [40], INDEX_OPTIONS)
    options = FirstStageOptions(depth=K, threads=1, audit_share=1)
    stage = FirstStage(many_items(index, vectors, new_encoder()), options, feed)
    try:
        pause = threading.Event()
        while stage.audit_pending and not pause.wait(0.01):
            pass
        assert stage.unreachable == 1
        assert search(stage, vectors[40]).item_ids[0] == "item-40"
    finally:
        stage.close()


def test_the_stage_waits_for_audit_and_rebuild(
    vectors: Float32Array, new_encoder: Callable[..., TextEncoder], feed: ChangeFeed
):
    """`audit_all` returns once all vectors were audited, and the index that lost many was rebuilt and audited."""
    index = lossy_index(vectors, range(200), INDEX_OPTIONS)
    stage = FirstStage(many_items(index, vectors, new_encoder()), OPTIONS, feed)
    try:
        assert stage.audit_pending == ITEMS
        stage.audit_all()
        assert (stage.unreachable, stage.audit_pending) == (0, 0)
        assert search(stage, vectors[40]).item_ids[0] == "item-40"
    finally:
        stage.close()


def test_searches_during_deletions_and_a_rebuild_never_fail(
    stage: FirstStage, artifacts: ReleaseArtifacts, vectors: Float32Array, capsys: pytest.CaptureFixture[str]
):
    """They find the nearest items, and none whose deletion had returned before the search began."""
    deleted: list[int] = []
    shares: list[float] = []
    failures: list[str] = []
    done = threading.Event()

    def keep_searching(seed: int) -> None:
        generator = np.random.default_rng(seed)
        while not done.is_set():
            gone = {f"item-{number}" for number in deleted[:]}
            vector = vectors[generator.integers(ITEMS)]
            try:
                candidates = search(stage, vector)
                shares.append(recall_of(artifacts, candidates, vector))
            except Exception as error:  # noqa: BLE001 - counted, whatever it is
                failures.append(repr(error))
                continue
            failures.extend(gone & set(candidates.item_ids))
            if len(candidates) != K:
                failures.append(f"{len(candidates)} found")

    searchers = [threading.Thread(target=keep_searching, args=(seed,)) for seed in range(2)]
    for searcher in searchers:
        searcher.start()
    order = np.random.default_rng(1).permutation(ITEMS)[:DELETED].tolist()
    for start in range(0, DELETED, 50):
        part = order[start : start + 50]
        stage.writer.delete([f"item-{number}" for number in part])
        deleted.extend(part)
    stage.wait_for_maintenance()
    done.set()
    for searcher in searchers:
        searcher.join()
    assert not failures
    assert len(shares) > 20
    assert np.mean(shares) > 0.97
    assert "index rebuilt" in capsys.readouterr().out
    left = sorted(set(range(ITEMS)) - set(order))
    assert np.mean([recall_of(artifacts, search(stage, vectors[row]), vectors[row]) for row in left[::100]]) > 0.97

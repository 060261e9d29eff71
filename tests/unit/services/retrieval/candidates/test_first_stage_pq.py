"""A first stage whose release has a PQ index, and whose items change: one scan finds release and delta."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from common.arrays import BoolMask, Float32Array, unit_vectors
from common.filters import Range
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.snapshot import Snapshot
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.encoding.text_encoder import TextEncoder
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.maintenance.delta_compaction import DeltaCompactionOptions
from services.retrieval.search.item_search import ItemSearchOptions
from testing.many_items import many_items, recall_of

ITEMS, DIMENSION, K = 3_000, 24, 20
OPTIONS = FirstStageOptions(depth=K, threads=1, audit_share=0)
# Every third item shares its vector with the one before it.
OWNERS = np.arange(ITEMS) - (np.arange(ITEMS) + 2) // 3
OpenStage = Callable[..., FirstStage]


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return random unit vectors."""
    return unit_vectors(np.random.default_rng(8).standard_normal((OWNERS[-1] + 1, DIMENSION)).astype(np.float32))


@pytest.fixture
def artifacts(vectors: Float32Array, new_encoder: Callable[..., TextEncoder]) -> ReleaseArtifacts:
    """Return a release with one source by query and one by history."""
    index = HybridIndex.build(vectors, IndexOptions(kind="pq"))
    return many_items(index, vectors, new_encoder(), OWNERS, ("semantic", "similar"))


@pytest.fixture
def open_stage(artifacts: ReleaseArtifacts, feed: ChangeFeed) -> Iterator[OpenStage]:
    """Return how a first stage over it is made; each is closed in the end."""
    opened: list[FirstStage] = []

    def open_(**options: Any) -> FirstStage:
        opened.append(FirstStage(artifacts, dataclasses.replace(OPTIONS, **options), feed))
        return opened[-1]

    yield open_
    for stage in opened:
        stage.close()


def search(stage: FirstStage, vector: Float32Array, **request: Any) -> Candidates:
    """Search around a vector."""
    return stage.retrieve([Request(vector=vector, limit=K, sources=["semantic"], **request)])[0]


def upsert(stage: FirstStage, names: list[str], vectors: Float32Array) -> None:
    """Upsert items that cost 5, fifty at a time."""
    for start in range(0, len(names), 50):
        part = zip(names[start : start + 50], vectors[start : start + 50], strict=True)
        stage.writer.upsert([Item(name, name, price=5.0, vector=vector) for name, vector in part])


def cheaper_than(snapshot: Snapshot, price: float) -> BoolMask:
    """Return which rows of a snapshot cost at most a price; shape [rows]."""
    items = snapshot.items_at(np.arange(snapshot.row_count))
    return np.array([item.price is not None and item.price <= price for item in items])


def mean_recall(
    artifacts: ReleaseArtifacts,
    stage: FirstStage,
    queries: Float32Array,
    allowed: BoolMask | None = None,
    **request: Any,
) -> float:
    """Return the mean recall of searches, which must find as many as asked for."""
    shares = []
    for query in queries:
        candidates = search(stage, query, **request)
        assert len(candidates) == K
        shares.append(recall_of(artifacts, candidates, query, allowed))
    return float(np.mean(shares))


def test_changed_items_are_found_as_they_are(open_stage: OpenStage, artifacts: ReleaseArtifacts, vectors: Float32Array):
    """New, moved, repriced and deleted items are found, or not, as exact search finds them, and so are all others."""
    stage, generator = open_stage(), np.random.default_rng(3)
    everyone = [f"item-{number}" for number in range(ITEMS)] + [f"new-{number}" for number in range(400)]
    for turn in range(8):
        names = [everyone[number] for number in generator.permutation(len(everyone))[:150].tolist()]
        upsert(stage, names[:100], unit_vectors(generator.standard_normal((100, DIMENSION)).astype(np.float32)))
        same = [name for name in names[100:130] if name.startswith("item")]
        upsert(stage, same, vectors[OWNERS[[int(name[5:]) for name in same]]])
        stage.writer.delete(names[130:])
        if turn % 2:
            stage.wait_for_maintenance()
        queries = unit_vectors(generator.standard_normal((20, DIMENSION)).astype(np.float32))
        assert mean_recall(artifacts, stage, queries) > 0.97
        cheap = cheaper_than(stage.snapshot, 300)
        assert mean_recall(artifacts, stage, queries, cheap, filter=Range("price", 0, 300)) > 0.97
        nearest = search(stage, queries[0])
        others = np.ones(stage.snapshot.row_count, np.bool_)
        others[nearest.rows] = False
        assert mean_recall(artifacts, stage, queries[:1], others, exclude_item_ids=nearest.item_ids) > 0.9
    assert len(stage.snapshot.delta) > 500


def test_each_of_several_queries_is_answered_as_alone(open_stage: OpenStage, vectors: Float32Array):
    """Searches that are answered together find what each finds alone, of the release and of indexed and new rows."""
    stage = open_stage()
    upsert(stage, [f"new-{number}" for number in range(130)], unit_vectors(vectors[:130] + 0.3 * vectors[200:330]))
    stage.wait_for_maintenance()
    upsert(stage, [f"late-{number}" for number in range(40)], unit_vectors(vectors[:40] + 0.3 * vectors[300:340]))
    queries = [Request(vector=vector, limit=K, sources=["semantic"]) for vector in vectors[:30]]
    together = stage.retrieve(queries)
    assert any(item_id.startswith("new") for one in together for item_id in one.item_ids)
    assert any(item_id.startswith("late") for one in together for item_id in one.item_ids)
    for one, query in zip(together, queries, strict=True):
        alone = stage.retrieve([query])[0]
        assert one.item_ids == alone.item_ids
        assert one.scores.tolist() == alone.scores.tolist()


def test_cached_neighbours_are_used_while_the_delta_is_short(open_stage: OpenStage, vectors: Float32Array):
    """A short delta is compared one by one; with a longer one all codes are scanned, and the same items are found."""
    found = []
    for max_compared, path in ((1_000, "cached"), (299, "approximate")):
        stage = open_stage(search=ItemSearchOptions(max_compared_delta=max_compared))
        upsert(stage, [f"new-{number}" for number in range(300)], unit_vectors(vectors[:300] + 0.3 * vectors[300:600]))
        stage.wait_for_maintenance()
        request = Request(history_item_ids=["item-0", "item-5"], sources=["similar"], limit=K)
        candidates = stage.retrieve([request])[0]
        assert candidates.paths == {"similar": path}
        found.append(set(candidates.item_ids))
    assert found[0] == found[1]
    assert {item_id[:3] for item_id in found[0]} == {"new", "ite"}


def test_a_rebuilt_index_is_searched_with_the_delta(
    open_stage: OpenStage, artifacts: ReleaseArtifacts, capsys: pytest.CaptureFixture[str]
):
    """Once most of the release has other vectors its index is rebuilt without them, and everything is found."""
    stage = open_stage(delta_compaction=DeltaCompactionOptions(min_superseded=100))
    generator = np.random.default_rng(4)
    for _ in range(2):
        moved = unit_vectors(generator.standard_normal((ITEMS - 300, DIMENSION)).astype(np.float32))
        upsert(stage, [f"item-{number}" for number in range(ITEMS - 300)], moved)
        stage.wait_for_maintenance()
    assert "index rebuilt" in capsys.readouterr().out
    assert len(stage.snapshot.delta) < 2 * ITEMS
    queries = unit_vectors(generator.standard_normal((20, DIMENSION)).astype(np.float32))
    assert mean_recall(artifacts, stage, queries) > 0.97


def test_new_prices_do_not_change_what_is_searched(
    open_stage: OpenStage, artifacts: ReleaseArtifacts, vectors: Float32Array
):
    """Items with a new price but the same vector are found by the release's vectors, in the same order."""
    stage = open_stage()
    before = search(stage, vectors[0])
    upsert(stage, ["item-0", "item-4"], vectors[OWNERS[[0, 4]]])
    stage.wait_for_maintenance()
    assert not stage.snapshot.delta.has_own_vector.any()
    assert search(stage, vectors[0]).item_ids == before.item_ids
    assert mean_recall(artifacts, stage, vectors[:1]) == 1

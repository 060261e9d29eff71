"""A first stage whose release is codes, and whose items change: codes of added items stand behind the release's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from common.arrays import Float32Array, unit_vectors
from common.filters import Range
from common.release.catalogue import SCHEMA, Catalogue
from services.retrieval.ann.ann_index import IndexOptions
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue import live_catalogue
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.index.hybrid_index import HybridIndex
from services.retrieval.maintenance.recall_monitor import RecallSample, recall
from services.retrieval.search import item_search
from services.retrieval.search.filter_evaluation import for_sale

# Every third item shares its vector with the one before it.
ITEMS, DIMENSION, K = 3_000, 24, 20


OPTIONS = FirstStageOptions(depth=K, threads=1, audit_share=0)


OWNERS = np.arange(ITEMS) - (np.arange(ITEMS) + 2) // 3


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    """Return random unit vectors."""
    return unit_vectors(np.random.default_rng(8).standard_normal((OWNERS[-1] + 1, DIMENSION)).astype(np.float32))


@pytest.fixture
def stage(vectors: Float32Array, new_encoder: Callable[..., object], feed: ChangeFeed) -> Iterator[FirstStage]:
    """Return a first stage over codes, of one source by query and one by history."""
    names = [f"item-{number}" for number in range(ITEMS)]
    columns: dict[str, list[Any]] = {name: [None] * ITEMS for name in SCHEMA.names}
    columns |= dict.fromkeys(("item_id", "title", "text"), names)
    columns |= {"price": [float(number) for number in range(ITEMS)], "available": [True] * ITEMS}
    columns["token_ids"] = [[1]] * ITEMS
    parts = ReleaseArtifacts(
        catalogue=Catalogue(pa.table(columns, schema=SCHEMA)),
        vectors=vectors,
        vector_of_item=OWNERS,
        index=HybridIndex.build(vectors, IndexOptions(kind="pq")),
        popularity=np.zeros(ITEMS, np.float32),
        graphs={},
        settings=FirstStageSettings.model_validate({"sources": {"semantic": {}, "similar": {}}}),
        encoder=new_encoder(),  # type: ignore[arg-type]
        encoder_id="words",
    )
    stage = FirstStage(parts, OPTIONS, feed)
    yield stage
    stage.close()


def ask(stage: FirstStage, vector: Float32Array, **request: Any) -> Candidates:
    """Search around a vector."""
    return stage.retrieve([Request(vector=vector, limit=K, sources=["semantic"], **request)])[0]


def recall_of(stage: FirstStage, vector: Float32Array, **request: Any) -> float:
    """Return which share of what is nearest a search finds, each once and each allowed."""
    answer = ask(stage, vector, **request)
    asked = Request(vector=vector, **request)
    allowed = stage._search._allowed(asked, answer.view)
    exact = stage._nearest.exact(vector, K, allowed)
    assert allowed.rows[answer.rows].all()
    assert len(set(answer.item_ids)) == len(answer) == K
    return recall(
        RecallSample(vector, K, allowed, exact._replace(rows=answer.rows, scores=answer.source_scores[:, 0])), exact
    )


def upsert(stage: FirstStage, names: list[str], vectors: Float32Array) -> None:
    """Upsert items, fifty at a time."""
    for start in range(0, len(names), 50):
        part = zip(names[start : start + 50], vectors[start : start + 50], strict=True)
        stage.upsert([Item(name, name, price=5.0, vector=vector) for name, vector in part])


def test_changed_items_are_found_as_they_are(stage: FirstStage, vectors: Float32Array):
    """New, moved, repriced and deleted items are found, or not, as exact search finds them, and so are all others."""
    generator = np.random.default_rng(3)
    everyone = [f"item-{number}" for number in range(ITEMS)] + [f"new-{number}" for number in range(400)]
    for turn in range(8):
        names = [everyone[number] for number in generator.permutation(len(everyone))[:150].tolist()]
        upsert(stage, names[:100], unit_vectors(generator.standard_normal((100, DIMENSION)).astype(np.float32)))
        same = [name for name in names[100:130] if name.startswith("item")]
        upsert(stage, same, vectors[OWNERS[[int(name[5:]) for name in same]]])
        stage.delete(names[130:])
        if turn % 2:
            stage.tend()
        queries = unit_vectors(generator.standard_normal((20, DIMENSION)).astype(np.float32))
        assert np.mean([recall_of(stage, query) for query in queries]) > 0.97
        cheap = Range("price", 0, 300)
        assert np.mean([recall_of(stage, query, filter=cheap) for query in queries]) > 0.97
        nearest = ask(stage, queries[0]).item_ids
        assert recall_of(stage, queries[0], exclude_item_ids=nearest) > 0.9
    assert stage.view.added.graph.rows > 500


def test_each_of_several_queries_is_answered_as_alone(stage: FirstStage, vectors: Float32Array):
    """Searches that are answered together find what each finds alone, of codes, of what came since, and by filters."""
    upsert(stage, [f"new-{number}" for number in range(130)], unit_vectors(vectors[:130] + 0.3 * vectors[200:330]))
    stage.tend()
    upsert(stage, [f"late-{number}" for number in range(40)], unit_vectors(vectors[:40] + 0.3 * vectors[300:340]))
    queries = [Request(vector=vector, limit=K, sources=["semantic"]) for vector in vectors[:30]]
    together = stage.retrieve(queries)
    assert any(item_id.startswith("new") for one in together for item_id in one.item_ids)
    assert any(item_id.startswith("late") for one in together for item_id in one.item_ids)
    for one, query in zip(together, queries, strict=True):
        alone = stage.retrieve([query])[0]
        assert one.item_ids == alone.item_ids
        assert one.scores.tolist() == alone.scores.tolist()


def test_remembered_neighbours_are_of_use_while_few_were_added(
    stage: FirstStage, vectors: Float32Array, monkeypatch: pytest.MonkeyPatch
):
    """Beside few added items these are compared; past that all codes are scanned, and the same is found."""
    upsert(stage, [f"new-{number}" for number in range(300)], unit_vectors(vectors[:300] + 0.3 * vectors[300:600]))
    stage.tend()
    asked = [Request(history_item_ids=["item-0", "item-5"], sources=["similar"], limit=K)]
    few = stage.retrieve(asked)[0]
    assert few.paths == {"similar": "cached"}
    monkeypatch.setattr(item_search, "_COMPARED", 299)
    many = stage.retrieve(asked)[0]
    assert many.paths == {"similar": "approximate"}
    assert set(many.item_ids) == set(few.item_ids)
    assert {item_id[:3] for item_id in few.item_ids} == {"new", "ite"}


def test_codes_that_are_built_anew_take_the_others_place(stage: FirstStage, monkeypatch: pytest.MonkeyPatch):
    """Once most of the release has other vectors its codes are left out, also of those that stand before added ones."""
    monkeypatch.setattr(live_catalogue, "_FEW_ROWS", 100)
    generator = np.random.default_rng(4)
    for _ in range(2):
        moved = unit_vectors(generator.standard_normal((ITEMS - 300, DIMENSION)).astype(np.float32))
        upsert(stage, [f"item-{number}" for number in range(ITEMS - 300)], moved)
        stage.tend()
    graph, index = stage.view.added.graph, stage._nearest.index
    assert len(index) < ITEMS // 2
    assert len(graph.index) < len(index) + len(stage.view.added) + 1
    queries = unit_vectors(generator.standard_normal((20, DIMENSION)).astype(np.float32))
    assert np.mean([recall_of(stage, query) for query in queries]) > 0.97


def test_a_release_without_changes_is_searched_alone(stage: FirstStage, vectors: Float32Array):
    """Nothing is copied before something is added; a new price adds nothing to be found by."""
    upsert(stage, ["item-0", "item-4"], vectors[OWNERS[[0, 4]]])
    stage.tend()
    assert stage.view.added.graph.index is stage._nearest.index
    assert recall_of(stage, vectors[0]) == 1
    assert not stage._filter.allowed(stage.view, for_sale(None)).added.any()

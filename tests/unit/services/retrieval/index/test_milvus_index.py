"""Behaviour of Milvus alone; what all indexes guarantee is in tests/contract/test_vector_index.py."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pymilvus
import pytest

from common.arrays import Float32Array, unit_vectors
from common.errors import InvalidRequest, NotReady
from common.onnx_session import SessionOptions
from common.release.manifest import compute_release_id, describe_files
from common.release.store import open_release, publish
from common.server.telemetry import Metrics
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.first_stage import FirstStage, FirstStageOptions
from services.retrieval.candidates.request import Request
from services.retrieval.index.milvus_index import MilvusIndex, MilvusOptions
from services.retrieval.server.server import RetrievalServer
from services.retrieval.settings import Settings

pytest.importorskip("pymilvus", reason="pymilvus is not installed; pip install '.[milvus]'")


pytest.importorskip("milvus_lite", reason="the embedded Milvus is not installed; pip install milvus-lite")


@pytest.fixture
def options(tmp_path: Path) -> MilvusOptions:
    """Return a collection of an embedded Milvus."""
    return MilvusOptions(str(tmp_path / "vectors.db"), "things")


@pytest.fixture
def vectors() -> Float32Array:
    """Return 400 unit vectors."""
    return unit_vectors(np.random.default_rng(3).standard_normal((400, 8)).astype(np.float32))


@pytest.mark.parametrize("listed", [0, 50, 1_000])
@pytest.mark.parametrize("count", [30, 200, 380])
def test_filters_go_to_milvus_in_several_ways(options: MilvusOptions, vectors: Float32Array, count: int, listed: int):
    """As a list of allowed labels, of excluded ones, or by asking for more hits: the nearest allowed are found."""
    index = MilvusIndex.build(vectors, replace(options, max_listed=listed))
    allowed = np.zeros(len(vectors), dtype=np.bool_)
    allowed[np.random.default_rng(count).choice(len(vectors), count, replace=False)] = True
    hits = index.search(vectors[:5], 20, allowed)
    wanted = np.argsort(-np.where(allowed, vectors[:5] @ vectors.T, -np.inf), axis=1)[:, :20]
    assert np.array_equal(hits.labels, wanted)
    index.close()


def test_an_unfinished_collection_is_finished(options: MilvusOptions, vectors: Float32Array):
    """A collection that a crash left unfinished is completed."""
    half = MilvusIndex.build(vectors[:100], options)
    index = MilvusIndex.build(vectors, options)
    assert index.search(vectors[399:], 1).labels.tolist() == [[399]]
    for each in (half, index):
        each.close()


def test_more_hits_than_milvus_finds_are_refused(options: MilvusOptions, vectors: Float32Array):
    """The message names Milvus' bound."""
    index = MilvusIndex.build(vectors, replace(options, max_k=100))
    with pytest.raises(InvalidRequest, match="k: 101; Milvus finds at most 100 per query"):
        index.search(vectors[:1], 101)
    index.close()


def test_an_unreachable_milvus_is_reported(vectors: Float32Array):
    """If nothing answers at the address, the error names it."""
    with pytest.raises(NotReady, match=r"Milvus at http://127\.0\.0\.1:1 does not answer for things"):
        MilvusIndex.build(vectors, MilvusOptions("http://127.0.0.1:1", "things", timeout_s=0.5))


def test_a_first_stage_over_milvus(tiny_release: Path, tmp_path: Path):
    """A release that Milvus searches gets the same candidates."""
    release = open_release(str(tiny_release))
    asked = [Request(query="fresh milk", sources=("semantic",), limit=30)]
    found = []
    for milvus in (None, str(tmp_path / "vectors.db")):
        stage = FirstStage.load(release, FirstStageOptions(milvus=milvus))
        candidates = stage.retrieve(asked)[0]
        found.append(candidates.snapshot.item_ids(candidates.rows))
        stage.close()
    assert found[0] == found[1]


def stores(tiny_release: Path, folder: Path, count: int) -> list[Path]:
    """Return stores of as many releases that differ in a setting."""
    release, made = open_release(str(tiny_release)), []
    for number in range(count):
        store = folder / f"store-{number}"
        shutil.copytree(release.path, store / ".staging")
        (store / ".staging" / "manifest.json").unlink()
        files, settings = describe_files(store / ".staging"), release.manifest.settings | {"variant": number}
        named = compute_release_id(files, release.manifest.data, settings, release.manifest.models)
        changes = {"release_id": named, "files": files, "settings": settings}
        publish(store / ".staging", store, release.manifest.model_copy(update=changes))
        made.append(store)
    return made


async def test_collections_of_replaced_releases_are_dropped(tiny_release: Path, tmp_path: Path):
    """The collections of the current and the previous release stay; a roll-back fills its own again."""
    milvus = str(tmp_path / "vectors.db")
    watcher = pymilvus.MilvusClient(milvus)
    settings = Settings(milvus_uri=milvus, release=str(tiny_release))
    server = RetrievalServer(settings, Metrics("retrieval"))
    await server.start()
    served = [server._live.current_id]
    for store in stores(tiny_release, tmp_path, 2):
        served.append(await server._live.activate(str(store)))
        await asyncio.gather(*server._live._tasks)
        kept = {f"shortlist_{named}" for named in served[-2:]}
        assert set(watcher.list_collections()) == kept
    await server._live.activate(str(tiny_release))
    with server._live.lease() as engine:
        assert len(engine.stage.retrieve([Request(query="fresh milk", sources=("semantic",), limit=30)])[0]) == 30
    await server.stop()
    assert set(watcher.list_collections()) == {f"shortlist_{named}" for named in (served[0], served[-1])}
    watcher.close()


def test_pymilvus_is_an_extra(tiny_release: Path, monkeypatch: pytest.MonkeyPatch):
    """Without pymilvus the message says what to install."""
    monkeypatch.setitem(sys.modules, "services.retrieval.index.milvus_index", None)
    with pytest.raises(NotReady, match="pip install 'shortlist"):
        ReleaseArtifacts.load(open_release(str(tiny_release)), SessionOptions(), 100, "vectors.db")

"""A release whose graph holds int8, built by the pipeline and served."""

from __future__ import annotations

import asyncio
import dataclasses
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from shortlist.release.v1 import release_pb2, release_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from common.channel import open_channel
from common.layout import INDEX, ROUNDED_INDEX, VECTORS
from common.release import Release, open_release
from common.server import running
from common.telemetry import Metrics
from pipeline.build import build
from pipeline.build_settings import BuildSettings
from pipeline.dataset import Dataset
from pipeline.progress import ProgressReport
from services.retrieval import hnsw_index
from services.retrieval.service import RetrievalServer
from services.retrieval.settings import Settings

TIMEOUT_S = 30.0


@pytest.fixture
def rounded(tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path: Path) -> Release:
    """Return the tiny shop's release with an int8 graph."""
    settings = dataclasses.replace(tiny_settings, index_vectors="int8")
    return build(tiny_dataset, tmp_path / "store", settings, ProgressReport(Console(quiet=True)))


async def test_int8_is_built_served_and_told(
    rounded: Release, tiny_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The graph is walked in int8, what it finds has float32's scores, and items come and go."""
    monkeypatch.setattr(hnsw_index, "_ROWS_PER_ENTRY", 0)  # or the shop is too small for its graph
    assert rounded.manifest.settings["index_vectors"] == "int8"
    assert ROUNDED_INDEX in rounded.manifest.files
    assert INDEX not in rounded.manifest.files
    assert INDEX in open_release(str(tiny_release)).manifest.files
    settings = Settings(port=0, metrics_port=0, release=str(rounded.path), data_dir=tmp_path / "changes")
    metrics = Metrics("retrieval")
    server = RetrievalServer(settings, metrics)
    async with running(server, settings, metrics) as ports, open_channel(f"127.0.0.1:{ports.port}") as channel:
        told = await release_pb2_grpc.ReleaseServiceStub(channel).GetRelease(
            release_pb2.GetReleaseRequest(), timeout=TIMEOUT_S
        )
        assert told.release.index_vectors == "int8"
        stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        vector = np.load(rounded.file(VECTORS))[11]
        ask = retrieval_pb2.RetrieveRequest(vector=vector.tolist(), sources=["semantic"], limit=30)
        before = await stub.Retrieve(ask, timeout=TIMEOUT_S)
        products = np.sort(np.load(rounded.file(VECTORS)) @ vector)[::-1]
        scores = [candidate.sources[0].score for candidate in before.candidates]
        assert scores[0] == pytest.approx(products[0], abs=1e-6)
        assert all(np.abs(products - score).min() < 1e-6 for score in scores)
        new = retrieval_pb2.Item(item_id="new", title="new", vector=vector.tolist())
        await stub.UpsertItems(retrieval_pb2.UpsertItemsRequest(items=[new]), timeout=TIMEOUT_S)
        gone = [candidate.item_id for candidate in before.candidates[:3]]
        await stub.DeleteItems(retrieval_pb2.DeleteItemsRequest(item_ids=gone), timeout=TIMEOUT_S)
        after = [candidate.item_id for candidate in (await stub.Retrieve(ask, timeout=TIMEOUT_S)).candidates]
        assert after[0] == "new"
        assert not set(gone) & set(after)
        page = await asyncio.to_thread(_scrape, ports.metrics_port)
    assert 'shortlist_retrieval_index_info{vectors="int8"} 1.0' in page
    assert 'shortlist_retrieval_searches_total{path="approximate",source="semantic"}' in page


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_S) as page:
        return page.read().decode()

"""A release whose graph holds int8, built by the pipeline and served."""

from __future__ import annotations

import asyncio
import dataclasses
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from shortlist.release.v1 import release_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.release.layout import INDEX, ROUNDED_INDEX, VECTORS
from common.release.store import Release, open_release
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from services.retrieval.ann.faiss_hnsw import FaissHnswSq

Item = retrieval_pb2.Item


@pytest.fixture
def rounded(tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path: Path) -> Release:
    """Return the tiny shop's release with an int8 graph."""
    settings = dataclasses.replace(tiny_settings, index_vectors="int8")
    return build(tiny_dataset, tmp_path / "store", settings, ProgressReport(Console(quiet=True)))


def test_the_release_tells_what_it_holds(rounded: Release, tiny_release: Path):
    """The manifest has the setting, and the one graph that it asks for."""
    plain = open_release(str(tiny_release)).manifest
    assert (rounded.manifest.settings["index_vectors"], plain.settings["index_vectors"]) == ("int8", "auto")
    for manifest, graph in ((rounded.manifest, ROUNDED_INDEX), (plain, INDEX)):
        assert {INDEX, ROUNDED_INDEX} & set(manifest.files) == {graph}


async def test_int8_is_served_and_told(rounded: Release, serve: Any, monkeypatch: pytest.MonkeyPatch):
    """The graph is walked in int8, what it finds has float32's scores, and items come and go."""
    monkeypatch.setattr(FaissHnswSq, "rows_an_entry", 0.0)  # or the shop is too small for its graph
    table = np.load(rounded.file(VECTORS))
    ask = {"vector": table[11].tolist(), "sources": ["semantic"], "limit": 30}
    async with serve(release=str(rounded.path)) as service:
        told = (await service.release.GetRelease(release_pb2.GetReleaseRequest())).release
        assert told.index_vectors == "int8"
        before = await service.retrieve(**ask)
        scores = [candidate.sources[0].score for candidate in before.candidates]
        products = table @ table[11]
        assert scores[0] == pytest.approx(products.max(), abs=1e-6)
        assert all(np.abs(products - score).min() < 1e-6 for score in scores)
        await service.upsert(Item(item_id="new", title="new", vector=table[11].tolist()))
        gone = service.ids(before)[:3]
        await service.delete(*gone)
        after = service.ids(await service.retrieve(**ask))
        assert after[0] == "new"
        assert not set(gone) & set(after)
        page = await asyncio.to_thread(_scrape, service.metrics_port)
    assert 'shortlist_retrieval_index_info{vectors="int8"} 1.0' in page
    assert 'shortlist_retrieval_searches_total{path="approximate",source="semantic"}' in page


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        return page.read().decode()

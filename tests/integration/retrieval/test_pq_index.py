"""A release with a PQ index, built by the pipeline and served."""

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

from common.release.layout import HNSW_INDEX, PQ_INDEX, VECTORS
from common.release.store import Release, open_release
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings

Item = retrieval_pb2.Item


@pytest.fixture
def pq_release(tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path: Path) -> Release:
    """Return the tiny shop's release with a PQ index."""
    settings = dataclasses.replace(tiny_settings, index="pq")
    return build(tiny_dataset, tmp_path / "store", settings, ProgressReport(Console(quiet=True)))


def test_the_release_has_the_index_asked_for(pq_release: Release, tiny_release: Path):
    """The manifest has the setting, and the release only the file of that index; the tiny shop needs none."""
    plain = open_release(str(tiny_release)).manifest
    assert (pq_release.manifest.settings["index"], plain.settings["index"]) == ("pq", "hnsw")
    for manifest, files in ((pq_release.manifest, {PQ_INDEX}), (plain, set())):
        assert {HNSW_INDEX, PQ_INDEX} & set(manifest.files) == files


async def test_pq_is_served_and_reported(pq_release: Release, serve: Any):
    """PQ finds candidates with exact scores while items come and go, and the server reports the index type."""
    table = np.load(pq_release.file(VECTORS))
    request = {"vector": table[11].tolist(), "sources": ["semantic"], "limit": 5}
    async with serve(release=str(pq_release.path), ef_search=1, min_ef_search=1, source_depth=5) as service:
        release = (await service.release.GetRelease(release_pb2.GetReleaseRequest())).release
        assert release.index_type == "pq"
        before = await service.retrieve(**request)
        scores = [candidate.sources[0].score for candidate in before.candidates]
        products = table @ table[11]
        assert scores[0] == pytest.approx(products.max(), abs=1e-6)
        assert all(np.abs(products - score).min() < 1e-6 for score in scores)
        await service.upsert(Item(item_id="new", title="new", vector=table[11].tolist()))
        gone = service.ids(before)[:3]
        await service.delete(*gone)
        after = service.ids(await service.retrieve(**request))
        assert after[0] == "new"
        assert not set(gone) & set(after)
        page = await asyncio.to_thread(_scrape, service.metrics_port)
    assert 'shortlist_retrieval_index_info{type="pq"} 1.0' in page
    assert 'shortlist_retrieval_searches_total{path="approximate",source="semantic"}' in page


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        return page.read().decode()

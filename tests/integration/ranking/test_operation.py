"""Releases and metrics of the ranking service, over the wire."""

from __future__ import annotations

import asyncio
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shortlist.ranking.v1 import ranking_pb2
from shortlist.release.v1 import release_pb2

from common.errors import BadRelease
from common.release.store import describe_files, open_release, publish, release_id
from common.server.server import running
from common.server.telemetry import Metrics
from services.ranking.server.server import RankingServer
from services.ranking.server.service import NAME
from services.ranking.settings import Settings

TIMEOUT_S = 20.0


def candidate(item_id: Any, **fields: Any) -> Any:
    """Return a candidate by its id."""
    return ranking_pb2.RankCandidate(item_id=item_id, **fields)


def user_context(history: Any = (), query: str = "") -> Any:
    """Return a user."""
    return ranking_pb2.UserContext(query=query, history_item_ids=history)


def assert_refused(raised: Any, code: Any, message: str) -> None:
    """Check status and message of a call."""
    assert raised.value.code() is code
    assert message in raised.value.details()


async def test_what_is_served_is_told(service: Any):
    """GetRelease names models, precision, provider and limits; health says SERVING."""
    info = (await service.release.GetRelease(release_pb2.GetReleaseRequest(), timeout=TIMEOUT_S)).release
    assert info.service == "ranking"
    assert {(model.name, model.precision, model.execution_provider) for model in info.models} == {
        ("cross_encoder", "fp32", "CPUExecutionProvider"),
        ("fusion", "fp32", "CPUExecutionProvider"),
    }
    assert info.limits["candidates"] == 2_000
    health = health_pb2_grpc.HealthStub(service.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=TIMEOUT_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_swap_keeps_the_previous_release(service: Any, ids: list[str], tiny_release: Path, tmp_path: Path):
    """After a swap calls are answered by the new release, and by the old one where they name it."""
    old = open_release(str(tiny_release))
    new = _republished(old, tmp_path)
    await service.release.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(new)), timeout=TIMEOUT_S)
    current = await service.rank(ids[:3])
    previous = await service.rank(ids[:3], release_id=old.id)
    assert current.release_id != previous.release_id == old.id
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.rank(ids[:3], release_id="another")
    assert_refused(raised, grpc.StatusCode.NOT_FOUND, "another")


def _republished(release: Any, tmp_path: Path) -> Any:
    """Publish the same files as a release with another id."""
    shutil.copytree(release.path, tmp_path / "staging")
    (tmp_path / "staging" / "manifest.json").unlink()
    files = describe_files(tmp_path / "staging")
    settings = {**release.manifest.settings, "again": True}
    named = release_id(files, release.manifest.data, settings, release.manifest.models)
    update = {"release_id": named, "files": files, "settings": settings}
    publish(tmp_path / "staging", tmp_path / "store", release.manifest.model_copy(update=update))
    return tmp_path / "store"


async def test_a_bad_release_does_not_start(tmp_path: Path):
    """Without a release the server says what to do, and does not serve."""
    settings, metrics = Settings(release=str(tmp_path), port=0, metrics_port=0), Metrics("ranking")
    with pytest.raises(BadRelease, match="holds no release"):
        async with running(RankingServer(settings, metrics), settings, metrics):
            pass


async def test_metrics_tell_of_batches_and_refusals(service: Any, ids: list[str]):
    """Queue, batches, padding, outcomes, refusals, stages and models are exported."""
    await service.rank(ids[:50], user=user_context(["gone"]))
    await service.rank(ids[:50], user=user_context(["gone"]))
    with pytest.raises(grpc.aio.AioRpcError):
        await service.rank(ids[:1], wait_s=0.0019)
    url = f"http://127.0.0.1:{service.metrics_port}/metrics"
    text = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()
    for line in (
        "shortlist_ranking_queued_pairs 0.0",
        'shortlist_ranking_pairs_total{outcome="read"} 50.0',
        'shortlist_ranking_pairs_total{outcome="reused"} 50.0',
        "shortlist_ranking_ignored_history_items_total 2.0",
        'shortlist_ranking_refused_total{reason="queue_full"} 0.0',
        'cross_encoder_provider="CPUExecutionProvider"',
        'shortlist_ranking_stage_seconds_count{stage="tokenise"}',
        "shortlist_ranking_batch_tokens_count",
        "shortlist_ranking_padding_tokens_total",
    ):
        assert line in text

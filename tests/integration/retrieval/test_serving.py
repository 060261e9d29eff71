"""A running retrieval service: release swaps, metrics, overload and settings."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from shortlist.release.v1 import release_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.release.manifest import compute_release_id, describe_files
from common.release.store import open_release, publish
from services.retrieval.server import service as service_module
from services.retrieval.server.rpc_handlers import NAME

TIMEOUT_S = 30.0
Item = retrieval_pb2.Item


@pytest.fixture
def other_release(tiny_release: Path, tmp_path: Path) -> Path:
    """Return a store with a copy of the tiny release that has only the source `popular`."""
    release, store = open_release(str(tiny_release)), tmp_path / "store"
    staging = store / ".staging"
    shutil.copytree(release.path, staging)
    (staging / "manifest.json").unlink()
    (staging / "retrieval.json").write_text('{"sources": {"popular": {}}}')
    files, settings = describe_files(staging), release.manifest.settings | {"variant": "popular"}
    named = compute_release_id(files, release.manifest.data, settings, release.manifest.models)
    changes = {"release_id": named, "files": files, "settings": settings}
    publish(staging, store, release.manifest.model_copy(update=changes))
    return store


async def test_a_swap_keeps_the_changes(service: Any, tiny_release: Path, other_release: Path):
    """Changes made before and after a swap apply to the new release, and to the old one after rolling back."""
    await service.upsert(Item(item_id="before", title="fresh bread"))
    swapped = await service.release.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(other_release)))
    assert list(swapped.release.sources) == ["popular"]
    await service.upsert(Item(item_id="after", title="fresh bread"))
    await service.delete("dairy-milk-red-0")
    for _ in range(2):
        read = await service.read("before", "after", "dairy-milk-red-0")
        assert list(read.missing_item_ids) == ["dairy-milk-red-0"]
        await service.release.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(tiny_release)))
    assert set(service.ids(await service.retrieve(query="fresh bread", limit=1_000))) > {"before", "after"}


async def test_swaps_lose_no_call(service: Any, tiny_release: Path, other_release: Path, history: list[str]):
    """Calls during swaps all get a response, each of one release."""
    done = asyncio.Event()

    async def call() -> set[str]:
        seen = set()
        while not done.is_set():
            answer = await service.retrieve(history_item_ids=history, query="milk")
            assert len(answer.candidates) == 100
            seen.add(answer.release_id)
        return seen

    callers = [asyncio.create_task(call()) for _ in range(4)]
    for location in (other_release, tiny_release, other_release):
        await service.release.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(location)))
    done.set()
    assert len(set.union(*await asyncio.gather(*callers))) == 2


async def test_a_bad_release_is_refused(service: Any, tiny_release: Path, tmp_path: Path):
    """An altered release is refused with the file's name, and the old one is still served."""
    shutil.copytree(tiny_release, tmp_path / "altered")
    file = open_release(str(tmp_path / "altered")).file("index/vectors.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    await service.refuses(
        service.release.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(tmp_path / "altered"))),
        grpc.StatusCode.FAILED_PRECONDITION,
        "index/vectors.npy was altered",
    )
    assert (await service.retrieve()).candidates


async def test_the_release_is_described(service: Any):
    """GetRelease returns release, sources, limits and the encoder's execution provider; health is SERVING."""
    release = (await service.release.GetRelease(release_pb2.GetReleaseRequest())).release
    assert (release.service, release.release_id) == ("retrieval", service.server._live.current_id)
    assert list(release.sources) == ["follow", "lexical", "popular", "repeat", "semantic", "similar"]
    assert release.index_type == "exact"
    assert [(model.name, model.execution_provider) for model in release.models] == [("encoder", "CPUExecutionProvider")]
    assert (release.limits["candidates"], release.limits["history_items"]) == (1_000, 10_000)
    health = health_pb2_grpc.HealthStub(service.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=NAME))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_metrics_count_what_was_done(service: Any, history: list[str]):
    """Candidates by source, search paths, items, changes, batches and stages are exported."""
    await service.retrieve(query="milk", history_item_ids=[*history, "unheard of"])
    await service.upsert(Item(item_id="new", title="new"))
    await asyncio.to_thread(service.stage().audit_all)
    page = await asyncio.to_thread(_scrape, service.metrics_port)
    for line in (
        'shortlist_retrieval_candidates_total{source="similar"}',
        'shortlist_retrieval_searches_total{path="exact",source="semantic"} 1.0',
        'shortlist_retrieval_stage_seconds_count{stage="encode"} 1.0',
        'shortlist_retrieval_stage_seconds_count{stage="search"} 1.0',
        'shortlist_retrieval_stage_seconds_count{stage="fuse"} 1.0',
        'shortlist_retrieval_changes_total{kind="inserted"} 1.0',
        f"shortlist_retrieval_items {float(service.stage().snapshot.item_count)}",
        "shortlist_retrieval_ignored_history_items_total 1.0",
        "shortlist_retrieval_encode_batch_queries_count 2.0",
        "shortlist_retrieval_unreachable_vectors 0.0",
        "shortlist_retrieval_audit_pending_vectors 0.0",
    ):
        assert line in page


async def test_late_responses_lower_ef_search(serve: Any):
    """If responses miss the latency target, `ef_search` falls to its minimum, and the metric shows it."""
    async with serve(latency_target_ms=1e-6, ef_search=200, min_ef_search=150) as service:
        assert "shortlist_retrieval_ef_search 200.0" in await asyncio.to_thread(_scrape, service.metrics_port)
        async with asyncio.timeout(TIMEOUT_S):
            while "shortlist_retrieval_ef_search 150.0" not in await asyncio.to_thread(_scrape, service.metrics_port):
                await service.retrieve(query="fresh milk", limit=1)


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


async def test_too_many_calls_are_refused(serve: Any):
    """A call above `max_calls` is refused at once with RetryInfo; those in progress are finished."""
    async with serve(max_calls=1, search_threads=1) as service:
        gate = threading.Event()
        service.stage().pool.submit(gate.wait, TIMEOUT_S)
        calls = asyncio.as_completed([service.retrieve() for _ in range(3)])
        for _ in range(2):
            error = await service.refuses(
                next(calls), grpc.StatusCode.RESOURCE_EXHAUSTED, "1 calls are in progress; call again later"
            )
            info = error_details_pb2.RetryInfo()
            assert rpc_status.from_call(error).details[0].Unpack(info)
        gate.set()
        assert (await next(calls)).candidates


async def test_the_request_timeout_ends_a_call(serve: Any):
    """A call that takes longer than `request_timeout_s` is DEADLINE_EXCEEDED, whatever its own deadline."""
    async with serve(request_timeout_s=0.05, search_threads=1) as service:
        gate = threading.Event()
        service.stage().pool.submit(gate.wait, TIMEOUT_S)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service.retrieve()
        gate.set()
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_unknown_settings_are_refused():
    """A mistyped flag ends the process with code 2 and a message that names the nearest flag."""
    command = [sys.executable, "-m", "services.retrieval", "--ef-serach", "9"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own
    assert ended.returncode == 2
    assert "--ef-serach: unknown argument; did you mean --ef-search?" in ended.stderr


async def test_a_large_batch_holds_up_no_other_call(service: Any, monkeypatch: pytest.MonkeyPatch):
    """While the requests of a batch are read, another call is answered."""
    begun, answered = threading.Event(), threading.Event()
    read = service_module.read_requests

    def hold(*arguments: Any) -> Any:
        begun.set()
        assert answered.wait(TIMEOUT_S), "no other call was answered meanwhile"
        return read(*arguments)

    monkeypatch.setattr(service_module, "read_requests", hold)
    excluded = [f"item-{number}" for number in range(5_000)]
    request = retrieval_pb2.BatchRetrieveRequest(
        requests=[retrieval_pb2.RetrieveRequest(exclude_item_ids=excluded) for _ in range(8)]
    )
    batch = service.stub.BatchRetrieve(request, timeout=2 * TIMEOUT_S)
    await asyncio.to_thread(begun.wait, TIMEOUT_S)
    assert (await service.retrieve()).candidates
    answered.set()
    assert len((await batch).responses) == 8

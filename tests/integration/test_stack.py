"""The three services together, as processes of their own, on a release built by the pipeline."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rich.console import Console
from shortlist.gateway.v1 import gateway_pb2 as gateway
from shortlist.gateway.v1.gateway_pb2_grpc import RecommendationServiceStub
from shortlist.ranking.v1 import ranking_pb2 as ranking
from shortlist.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from shortlist.release.v1 import release_pb2
from shortlist.release.v1.release_pb2_grpc import ReleaseServiceStub

from common.release.store import open_release
from common.server.channel import open_channel
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.local_services import LocalServices, local_services
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings

TOP = Path(__file__).parents[2]
HISTORY = ["dairy-milk-red-0", "dairy-milk-white-0", "dairy-cheese-red-0"]
TIMEOUT_S = 20.0
PATIENT = {
    "SHORTLIST_GATEWAY_REQUEST_TIMEOUT_S": "15",
    "SHORTLIST_GATEWAY_RELEASE_SYNC_INTERVAL_S": "0.2",
    "SHORTLIST_RANKING_REQUEST_TIMEOUT_S": "15",
}


@pytest.fixture(scope="module")
def services(tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServices]:
    with local_services(tiny_release, tmp_path_factory.mktemp("services"), PATIENT) as running:
        yield running


@pytest.fixture
async def stub(services: LocalServices) -> AsyncIterator[RecommendationServiceStub]:
    async with open_channel(services.targets["gateway"]) as channel:
        yield RecommendationServiceStub(channel)


async def test_recommends_by_history_through_both_stages(stub: RecommendationServiceStub):
    """Items for a history have calibrated probabilities, highest first, with logits, sources and reasons."""
    request = gateway.RecommendRequest(history_item_ids=HISTORY, limit=10, explain=True)
    answer = await stub.Recommend(request, timeout=TIMEOUT_S)
    probabilities = [item.probability for item in answer.items]
    assert not answer.degradations
    assert len(answer.items) == 10
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(0 <= probability <= 1 for probability in probabilities)
    assert any(item.HasField("cross_encoder_logit") for item in answer.items)
    assert all(item.sources and item.reasons and item.title for item in answer.items)
    assert answer.timings.ranking_ms > 0


async def test_finds_items_for_product_pages_and_carts(stub: RecommendationServiceStub):
    """Items near an item are of its shelf, a cart's complements come from the item graph first, and none is given."""
    similar = await stub.SimilarItems(gateway.SimilarItemsRequest(item_id=HISTORY[0], limit=10), timeout=TIMEOUT_S)
    assert similar.items[0].item_id.startswith("dairy")
    assert HISTORY[0] not in [item.item_id for item in similar.items]
    assert all({source.source for source in item.sources} & {"semantic", "similar"} for item in similar.items[:3])
    request = gateway.RelatedToCartRequest(item_ids=HISTORY, limit=20, explain=True)
    related = await stub.RelatedToCart(request, timeout=TIMEOUT_S)
    assert not {item.item_id for item in related.items} & set(HISTORY)
    assert "follow" in {source.source for source in related.items[0].sources}
    assert not {source.source for item in related.items for source in item.sources} & {"popular", "repeat"}
    assert all(item.reasons for item in related.items)


async def test_recommends_by_recorded_events_and_forgets(stub: RecommendationServiceStub):
    """A user's recorded purchases change the answer, and forgetting the user takes that back."""
    unknown = await stub.Recommend(gateway.RecommendRequest(user_id="ada", limit=5), timeout=TIMEOUT_S)
    events = [
        gateway.Event(event_id=f"ada-{n}", user_id="ada", kind=gateway.EVENT_KIND_PURCHASE, item_id=item)
        for n, item in enumerate(HISTORY)
    ]
    recorded = await stub.RecordEvents(gateway.RecordEventsRequest(events=events), timeout=TIMEOUT_S)
    known = await stub.Recommend(gateway.RecommendRequest(user_id="ada", limit=5), timeout=TIMEOUT_S)
    by_history = await stub.Recommend(gateway.RecommendRequest(history_item_ids=HISTORY, limit=5), timeout=TIMEOUT_S)
    forgotten = await stub.ForgetUser(gateway.ForgetUserRequest(user_id="ada"), timeout=TIMEOUT_S)
    again = await stub.Recommend(gateway.RecommendRequest(user_id="ada", limit=5), timeout=TIMEOUT_S)
    assert recorded.recorded == len(HISTORY)
    assert [item.item_id for item in known.items] == [item.item_id for item in by_history.items]
    assert [item.item_id for item in known.items] != [item.item_id for item in unknown.items]
    assert forgotten.erased_events == len(HISTORY)
    assert [item.item_id for item in again.items] == [item.item_id for item in unknown.items]


async def test_explains_what_moved_a_score(services: LocalServices):
    """Explain returns the contribution of each word and history item, and the features of the fusion."""
    async with open_channel(services.targets["ranking"]) as channel:
        request = ranking.ExplainRequest(
            user=ranking.UserContext(query="red milk", history_item_ids=HISTORY),
            candidate=ranking.RankCandidate(item_id="dairy-butter-red-0"),
        )
        answer = await RankingServiceStub(channel).Explain(request, timeout=TIMEOUT_S)
    assert [part.part for part in answer.query_words] == ["red", "milk"]
    assert "butter." in {part.part for part in answer.item_words}
    assert [part.part for part in answer.history_items] == HISTORY[::-1]
    assert {"logit", "has_query"} <= {feature.name for feature in answer.features}


@pytest.mark.parametrize("name", ["gateway", "retrieval", "ranking"])
async def test_every_server_has_health_reflection_release_and_metrics(services: LocalServices, name: str):
    """Each server answers health, reflection and GetRelease, and serves Prometheus metrics of its own prefix."""
    async with open_channel(services.targets[name]) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(timeout=TIMEOUT_S)
        await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = await stream.read()
        stream.cancel()
        names = {service.name for service in listed.list_services_response.service}
        assert {"grpc.health.v1.Health", "shortlist.release.v1.ReleaseService"} <= names
        release = await ReleaseServiceStub(channel).GetRelease(release_pb2.GetReleaseRequest(), timeout=TIMEOUT_S)
        assert release.release.items > 0
        assert {model.execution_provider for model in release.release.models} == {"CPUExecutionProvider"}
    text = await asyncio.to_thread(_page, f"http://{services.metrics[name]}/metrics")
    assert f"shortlist_{name}_requests_total" in text
    assert f"shortlist_{name}_stage_seconds_bucket" in text


async def test_killed_ranking_costs_no_call_and_is_healed(services: LocalServices, stub: RecommendationServiceStub):
    """While ranking is down every answer names the degradation; after its restart probabilities are back."""
    request = gateway.RecommendRequest(history_item_ids=HISTORY, limit=5)
    os.kill(_pid_of(services, "ranking"), signal.SIGKILL)
    kinds: set[int] = set()
    async with asyncio.timeout(60):
        while True:
            answer = await stub.Recommend(request, timeout=TIMEOUT_S)
            assert len(answer.items) == 5
            if kinds and not answer.degradations:
                break
            kinds |= {degradation.kind for degradation in answer.degradations}
    assert kinds <= {
        gateway.DEGRADATION_KIND_RANKING_UNAVAILABLE,
        gateway.DEGRADATION_KIND_RANKING_TOO_SLOW,
    }
    assert answer.items[0].HasField("probability")


async def test_hot_swap_and_roll_back_lose_no_call(
    services: LocalServices,
    stub: RecommendationServiceStub,
    tiny_release: Path,
    other_release: Path,
):
    """During an activation and its roll-back, every call is answered in full by one release or the other."""
    request = gateway.RecommendRequest(history_item_ids=HISTORY, limit=5)
    seen: set[str] = set()
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            answer = await stub.Recommend(request, timeout=TIMEOUT_S)
            assert not answer.degradations
            assert len(answer.items) == 5
            seen.add(answer.release_id)

    async with open_channel(services.targets["gateway"]) as channel, asyncio.TaskGroup() as callers:
        for _ in range(2):
            callers.create_task(ask())
        releases = ReleaseServiceStub(channel)
        for location in (other_release, tiny_release):
            swapped = await releases.ActivateRelease(
                release_pb2.ActivateReleaseRequest(location=str(location)), timeout=60
            )
            assert swapped.release.release_id == open_release(str(location)).id
        done.set()
    assert seen <= {open_release(str(tiny_release)).id, open_release(str(other_release)).id}


async def test_a_killed_service_comes_back_to_what_was_activated(
    services: LocalServices, stub: RecommendationServiceStub, tiny_release: Path, other_release: Path
):
    """A service that restarts with the store's current release is switched to the activated one."""
    request = gateway.RecommendRequest(history_item_ids=HISTORY, limit=5)
    async with open_channel(services.targets["gateway"]) as channel:
        releases = ReleaseServiceStub(channel)
        activated = await releases.ActivateRelease(
            release_pb2.ActivateReleaseRequest(location=str(other_release)), timeout=60
        )
        for name in ("ranking", "retrieval"):
            before = _pid_of(services, name)
            os.kill(before, signal.SIGKILL)
            async with asyncio.timeout(60):
                while True:
                    answer = await stub.Recommend(request, timeout=TIMEOUT_S)
                    healed = not answer.degradations and answer.release_id == activated.release.release_id
                    if healed and _pid_of(services, name) != before:
                        break
        await releases.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(tiny_release)), timeout=60)


async def test_damaged_release_is_refused_and_the_old_one_stays(
    services: LocalServices, stub: RecommendationServiceStub, other_release: Path, tmp_path: Path
):
    """Activating a release with a flipped byte is FAILED_PRECONDITION with the file; calls are still answered."""
    copy = tmp_path / "damaged"
    shutil.copytree(open_release(str(other_release)).path, copy)
    data = bytearray((copy / "ranker" / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "ranker" / "model.onnx").write_bytes(data)
    async with open_channel(services.targets["gateway"]) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ReleaseServiceStub(channel).ActivateRelease(
                release_pb2.ActivateReleaseRequest(location=str(copy)), timeout=60
            )
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "ranker/model.onnx" in str(refused.value.details())
    answer = await stub.Recommend(gateway.RecommendRequest(history_item_ids=HISTORY), timeout=TIMEOUT_S)
    assert not answer.degradations


def test_node_client_is_answered(services: LocalServices):
    """A Node client with only the protos reads probabilities and reasons from the gateway."""
    client = TOP / "tests" / "node"
    if not shutil.which("node") or not (client / "node_modules").exists():
        pytest.skip("Node and the packages of tests/node are not installed; `make test` installs them where npm is")
    command = ["node", str(client / "recommend.js"), services.targets["gateway"], str(TOP / "protos"), *HISTORY]
    answered = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    assert answered.returncode == 0, answered.stderr
    items = json.loads(answered.stdout)["items"]
    assert len(items) == 5
    assert all(0 <= item["probability"] <= 1 and item["reasons"] for item in items)


def test_the_command_line_asks_and_looks_after_it(services: LocalServices):
    """`shortlist` recommends, names the release, and checks the machine against running servers."""
    target = services.targets["gateway"]
    commands = {
        "recommend": ["--history", ",".join(HISTORY), "--limit", "3", "--explain", "--timeout-s", str(TIMEOUT_S)],
        "doctor": [],
    }
    said = {}
    for command, words in commands.items():
        program = [sys.executable, "-m", "shortlist.cli", command, "--target", target, *words]
        finished = subprocess.run(program, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
        assert finished.returncode == 0, finished.stderr
        said[command] = finished.stdout
    assert len(said["recommend"].splitlines()) == 6
    assert "degraded" not in said["recommend"]
    assert f"{target} serves" in said["doctor"]


def test_sigterm_drains_all_three(tiny_release: Path, tmp_path: Path):
    """On SIGTERM the three servers drain, and their supervisor exits with 0."""
    with local_services(tiny_release, tmp_path) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        assert running.log.read_text().count('"drained"') == 3


@pytest.fixture(scope="session")
def other_release(
    tiny_dataset: Dataset, tiny_settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a store with another release of the tiny shop."""
    store = tmp_path_factory.mktemp("other") / "tiny"
    settings = dataclasses.replace(tiny_settings, context_items=4)
    build(tiny_dataset, store, settings, ProgressReport(Console(quiet=True)), force=True)
    return store


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as page:  # noqa: S310 - our own server
        return str(page.read().decode())


def _pid_of(services: LocalServices, name: str) -> int:
    children = Path(f"/proc/{services.process.pid}/task/{services.process.pid}/children").read_text().split()
    named = (int(pid) for pid in children if f"services.{name}" in Path(f"/proc/{pid}/cmdline").read_bytes().decode())
    return next(named, 0)

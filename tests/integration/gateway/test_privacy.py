"""What a running gateway keeps of users: identifiers are planted, and every file and log line is searched for them."""

from __future__ import annotations

import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2

from testing.gateway_backends import Backends
from testing.server_process import ServerProcess, free_port

USER, EVENT = "planted-user@shop.example", "planted-event"
QUERY, ITEM, ATTRIBUTE = "planted query words", "planted-item", "planted-attribute"
IDS = (USER, EVENT)
TEXTS = (QUERY, ITEM, ATTRIBUTE)


@pytest.fixture
async def backends() -> AsyncIterator[Backends]:
    """Return fakes of retrieval and ranking."""
    backends = Backends()
    await backends.start()
    yield backends
    await backends.stop()


@pytest.fixture
async def gateway(backends: Backends, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """Return a gateway process that logs everything, with its profiles in ``tmp_path``."""
    flags = {
        "retrieval-target": backends.retrieval_target,
        "ranking-target": backends.ranking_target,
        "profiles": tmp_path / "profiles.sqlite3",
        "metrics-port": free_port(),
        "log-level": "debug",
        "release-sync-interval-s": 0.2,
    }
    process = ServerProcess("gateway", flags, tmp_path / "gateway.log")
    process.metrics_port = flags["metrics-port"]  # type: ignore[attr-defined]  # for the test alone
    await process.start()
    await process.serving()
    yield process
    await process.close()


def _found(texts: tuple[str, ...], folder: Path, pattern: str = "*") -> list[tuple[str, str]]:
    """Return where any of the texts occurs in the files of a folder."""
    files = {str(file): file.read_bytes() for file in folder.rglob(pattern) if file.is_file()}
    return [(text, name) for name, content in files.items() for text in texts if text.encode() in content]


def _requests() -> list[tuple[str, Any]]:
    """Return good and bad calls that name the planted identifiers."""
    event = gateway_pb2.Event(event_id=EVENT, user_id=USER, kind=gateway_pb2.EVENT_KIND_VIEW, item_id=ITEM)
    search = gateway_pb2.Event(event_id=EVENT + "2", user_id=USER, kind=gateway_pb2.EVENT_KIND_SEARCH, query=QUERY)
    filtered = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute=ATTRIBUTE, values=[ITEM]))
    return [
        ("RecordEvents", gateway_pb2.RecordEventsRequest(events=[event, search])),
        ("RecordEvents", gateway_pb2.RecordEventsRequest(events=[event, gateway_pb2.Event(user_id=USER)])),
        ("Recommend", gateway_pb2.RecommendRequest(user_id=USER, query=QUERY, history_item_ids=[ITEM], explain=True)),
        ("Recommend", gateway_pb2.RecommendRequest(user_id=USER, query=QUERY, limit=100_000)),
        ("Recommend", gateway_pb2.RecommendRequest(user_id=USER, filter=filtered)),
        ("Recommend", gateway_pb2.RecommendRequest(user_id=USER * 100, query=QUERY)),
    ]


async def _call(process: ServerProcess, name: str, request: Any) -> grpc.StatusCode:
    stub = gateway_pb2_grpc.RecommendationServiceStub(process.channel)
    return await getattr(stub, name)(request, timeout=30).code()


async def test_planted_identifiers_stay_in_memory(gateway: ServerProcess, backends: Backends, tmp_path: Path):
    """No file and no log line has a user's or event's id, and no log line a query, item or filter; nor do metrics.

    ForgetUser then leaves no trace of the user's query and items in any file either.
    """
    codes = [await _call(gateway, name, request) for name, request in _requests()]
    backends.ranking.status = grpc.StatusCode.UNAVAILABLE
    codes += [await _call(gateway, *_requests()[2])]
    releases = release_pb2_grpc.ReleaseServiceStub(gateway.channel)
    await releases.ActivateRelease(release_pb2.ActivateReleaseRequest(location=ITEM), timeout=30)
    ok, invalid = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
    assert codes == [ok, invalid, ok, invalid, invalid, invalid, ok]

    assert not _found(IDS, tmp_path)
    assert not _found(TEXTS, tmp_path, "*.log")
    assert _found((QUERY,), tmp_path, "profiles*")
    url = f"http://127.0.0.1:{gateway.metrics_port}/metrics"  # type: ignore[attr-defined]
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: ASYNC210 - a loopback address
        metrics = answer.read().decode()
    assert not [text for text in IDS + TEXTS if text in metrics]

    forget = gateway_pb2.ForgetUserRequest(user_id=USER)
    answer = await gateway_pb2_grpc.RecommendationServiceStub(gateway.channel).ForgetUser(forget, timeout=30)
    assert answer.erased_events == 2
    assert not _found(IDS + TEXTS, tmp_path)
    assert await gateway.terminate() == 0
    assert not _found(IDS + TEXTS, tmp_path)

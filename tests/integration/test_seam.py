"""Every method of every service of every server, called with bytes that are no message."""

from __future__ import annotations

import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from shortlist.gateway.v1 import gateway_pb2
from shortlist.ranking.v1 import ranking_pb2
from shortlist.release.v1 import release_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from common.server.channel import open_channel
from common.server.server import RunningServer, running
from common.server.telemetry import Metrics
from services.gateway.server.server import GatewayServer
from services.gateway.settings import Settings as GatewaySettings
from services.ranking.server.server import RankingServer
from services.ranking.settings import Settings as RankingSettings
from services.retrieval.server.server import RetrievalServer
from services.retrieval.settings import Settings as RetrievalSettings

COMMON = (health_pb2, reflection_pb2, release_pb2)
CONTRACTS = {"gateway": gateway_pb2, "retrieval": retrieval_pb2, "ranking": ranking_pb2}


@pytest.fixture(params=["gateway", "retrieval", "ranking"])
async def server(
    request: pytest.FixtureRequest, tiny_release: Path, tmp_path: Path
) -> AsyncIterator[tuple[str, RunningServer]]:
    """Run one of the servers; yields its name and its ports."""
    name, release = request.param, str(tiny_release)
    metrics = Metrics(name)
    ports: dict[str, Any] = {"port": 0, "metrics_port": 0}
    service: Any
    settings: Any
    if name == "gateway":
        settings = GatewaySettings(**ports, profiles=tmp_path / "profiles.sqlite3", release_sync_interval_s=0)
        service = GatewayServer(settings, metrics)
    elif name == "retrieval":
        settings = RetrievalSettings(**ports, release=release, data_dir=tmp_path / "changes")
        service = RetrievalServer(settings, metrics)
    else:
        settings = RankingSettings(**ports, release=release)
        service = RankingServer(settings, metrics)
    async with running(service, settings, metrics) as started:
        yield name, started


def methods(services: list[ServiceDescriptor]) -> list[str]:
    """Return the full names of all methods of services."""
    return [f"/{service.full_name}/{method.name}" for service in services for method in service.methods]


async def test_bytes_that_are_no_message_are_refused_and_counted_by_every_method(server: tuple[str, RunningServer]):
    """Every method answers INVALID_ARGUMENT with the call's id, and counts it once."""
    name, started = server
    services = [each for file in (CONTRACTS[name], *COMMON) for each in file.DESCRIPTOR.services_by_name.values()]
    called = methods(services)
    async with open_channel(f"127.0.0.1:{started.port}") as channel:
        for method in called:
            call: Any = channel.stream_stream(method)(iter([b"\xff\xff"]), metadata=[("x-request-id", "r-1")])
            assert (method, await call.code()) == (method, grpc.StatusCode.INVALID_ARGUMENT)
            assert dict(await call.trailing_metadata())["x-request-id"] == "r-1"
        page = urllib.request.urlopen(f"http://127.0.0.1:{started.metrics_port}/metrics").read().decode()  # noqa: ASYNC210 - one page of the server in this process
    for method in called:
        assert f'shortlist_{name}_requests_total{{code="INVALID_ARGUMENT",method="{method}"}} 1.0' in page

"""The three servers in this process, with a collector of their traces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from shortlist.gateway.v1.gateway_pb2_grpc import RecommendationServiceStub

from common.server.channel import open_channel
from common.server.server import running
from common.server.telemetry import Metrics
from services.gateway.server.server import GatewayServer
from services.gateway.settings import Settings as GatewaySettings
from services.ranking.server.server import RankingServer
from services.ranking.settings import Settings as RankingSettings
from services.retrieval.server.server import RetrievalServer
from services.retrieval.settings import Settings as RetrievalSettings
from testing.observability.trace_collector import TraceCollector, trace_collector
from testing.server_process import free_port

PATIENT_S = 30.0


@dataclass
class Stack:
    """Running servers.

    Attributes:
        gateway: The gateway's stub.
        metrics_port: The port of the gateway's metrics.
        collector: What the servers send their spans to; it has all of them once the servers have ended.
    """

    gateway: Any
    metrics_port: int
    collector: TraceCollector


Traced = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture(scope="module")
def traced(tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """Return a context manager that runs the three servers with a share of traced calls."""

    @asynccontextmanager
    async def run(share: float, *, with_ranking: bool = True) -> AsyncIterator[Stack]:
        with trace_collector() as collector:
            async with _servers(
                tiny_release, tmp_path_factory.mktemp("traced"), collector, share, with_ranking
            ) as stack:
                yield stack

    return run


@asynccontextmanager
async def _servers(
    tiny_release: Path, tmp_path: Path, collector: TraceCollector, share: float, with_ranking: bool
) -> AsyncIterator[Stack]:
    ports = {"port": 0, "metrics_port": 0}
    traces = {**ports, "trace_endpoint": collector.endpoint, "trace_share": share, "request_timeout_s": PATIENT_S}
    retrieval_settings = RetrievalSettings(release=str(tiny_release), data_dir=tmp_path / "changes", **traces)
    ranking_settings = RankingSettings(release=str(tiny_release), **traces)
    metrics = {name: Metrics(name) for name in ("retrieval", "ranking", "gateway")}
    async with (
        running(
            RetrievalServer(retrieval_settings, metrics["retrieval"]), retrieval_settings, metrics["retrieval"]
        ) as retrieval,
        running(RankingServer(ranking_settings, metrics["ranking"]), ranking_settings, metrics["ranking"]) as ranking,
    ):
        settings = GatewaySettings(
            profiles=tmp_path / "profiles.sqlite3",
            retrieval_target=f"127.0.0.1:{retrieval.port}",
            ranking_target=f"127.0.0.1:{ranking.port if with_ranking else free_port()}",
            release_sync_interval_s=0,
            **traces,
        )
        server = GatewayServer(settings, metrics["gateway"])
        async with (
            running(server, settings, metrics["gateway"]) as gateway,
            open_channel(f"127.0.0.1:{gateway.port}") as channel,
        ):
            yield Stack(RecommendationServiceStub(channel), gateway.metrics_port, collector)

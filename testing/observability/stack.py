"""The three servers in one process, to be looked at from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shortlist.gateway.v1.gateway_pb2_grpc import RecommendationServiceStub
from shortlist.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceStub

from common.server.channel import open_channel
from common.server.server import running
from common.server.telemetry import Metrics
from services.gateway.server.server import GatewayServer
from services.gateway.settings import Settings as GatewaySettings
from services.ranking.server.server import RankingServer
from services.ranking.settings import Settings as RankingSettings
from services.retrieval.server.server import RetrievalServer
from services.retrieval.settings import Settings as RetrievalSettings
from testing.server_process import free_port

_REQUEST_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Stack:
    """Running servers.

    Attributes:
        gateway: The gateway's stub.
        retrieval: Retrieval's stub.
        metrics_ports: The port of each server's metrics, by its name.
    """

    gateway: Any
    retrieval: Any
    metrics_ports: Mapping[str, int]


@asynccontextmanager
async def running_stack(
    release: Path,
    folder: Path,
    settings: Mapping[str, Any],
    change_stream: str | None = None,
    *,
    has_ranking: bool = True,
) -> AsyncIterator[Stack]:
    """Run the three servers while the body runs.

    Args:
        release: The release or store to serve.
        folder: Where profiles and changes are kept.
        settings: Settings of all three.
        change_stream: The Redis stream of changes; a folder if None.
        has_ranking: Whether the gateway can reach ranking.
    """
    shared = {"port": 0, "metrics_port": 0, "request_timeout_s": _REQUEST_TIMEOUT_S, **settings}
    backend = {"release": str(release), "change_stream": change_stream, **shared}
    kept: dict[str, Any] = {} if change_stream else {"data_dir": folder / "changes"}
    retrieval_settings, ranking_settings = RetrievalSettings(**backend, **kept), RankingSettings(**backend)
    metrics = {name: Metrics(name) for name in ("gateway", "retrieval", "ranking")}
    async with (
        running(
            RetrievalServer(retrieval_settings, metrics["retrieval"]), retrieval_settings, metrics["retrieval"]
        ) as retrieval,
        running(RankingServer(ranking_settings, metrics["ranking"]), ranking_settings, metrics["ranking"]) as ranking,
    ):
        targets: dict[str, Any] = {
            "retrieval_target": f"127.0.0.1:{retrieval.port}",
            "ranking_target": f"127.0.0.1:{ranking.port if has_ranking else free_port()}",
        }
        gateway_settings = GatewaySettings(
            profiles=str(folder / "profiles.sqlite3"), release_sync_interval_s=0, **targets, **shared
        )
        async with (
            running(
                GatewayServer(gateway_settings, metrics["gateway"]), gateway_settings, metrics["gateway"]
            ) as gateway,
            open_channel(f"127.0.0.1:{gateway.port}") as channel,
            open_channel(targets["retrieval_target"]) as retrieval_channel,
        ):
            servers = {"gateway": gateway, "retrieval": retrieval, "ranking": ranking}
            yield Stack(
                RecommendationServiceStub(channel),
                RetrievalServiceStub(retrieval_channel),
                {name: server.metrics_port for name, server in servers.items()},
            )

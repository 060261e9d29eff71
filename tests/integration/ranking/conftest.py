"""Running ranking services on a small real release."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc
from shortlist.release.v1 import release_pb2_grpc

from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import open_release
from common.server.channel import open_channel
from common.server.server import running
from common.server.telemetry import Metrics
from services.ranking.request import MAX_CANDIDATES
from services.ranking.server.server import RankingServer
from services.ranking.settings import Settings

TIMEOUT_S = 20.0


class RunningRanking:
    """A ranking server and a channel to it."""

    def __init__(self, server: RankingServer, ports: Any, channel: Any) -> None:
        self.server = server
        self.metrics_port = ports.metrics_port
        self.channel = channel
        self.ranking: Any = ranking_pb2_grpc.RankingServiceStub(channel)
        self.release: Any = release_pb2_grpc.ReleaseServiceStub(channel)

    async def rank(self, candidates: Any, wait_s: float = TIMEOUT_S, **request: Any) -> Any:
        """Rank items by id, or candidates as they are."""
        messages = [ranking_pb2.RankCandidate(item_id=one) if isinstance(one, str) else one for one in candidates]
        return await self.ranking.Rank(ranking_pb2.RankRequest(candidates=messages, **request), timeout=wait_s)

    def stage(self) -> Any:
        """Return the second stage being served."""
        with self.server._live.current() as stage:
            return stage


@pytest.fixture
async def serve(tiny_release: Path) -> AsyncIterator[Callable[..., Awaitable[RunningRanking]]]:
    """Run ranking services with changed settings until the end of the test."""
    async with AsyncExitStack() as stack:

        async def start(**changes: Any) -> RunningRanking:
            fields = {"cross_encoder_depth": MAX_CANDIDATES, "request_timeout_s": 60.0} | changes
            settings, metrics = (
                Settings(release=str(tiny_release), port=0, metrics_port=0, **fields),
                Metrics("ranking"),
            )
            server = RankingServer(settings, metrics)
            ports = await stack.enter_async_context(running(server, settings, metrics))
            channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{ports.port}"))
            return RunningRanking(server, ports, channel)

        yield start


@pytest.fixture
async def service(serve: Callable[..., Awaitable[RunningRanking]]) -> RunningRanking:
    """A running ranking service."""
    return await serve()


@pytest.fixture
def ids(tiny_release: Path) -> list[str]:
    """Ids of the catalogue's items; more than 200."""
    return Catalogue.open(open_release(str(tiny_release)).file(CATALOGUE)).item_ids

"""A running ranking service on a small real release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
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


class Running:
    """A server and a channel to it."""

    def __init__(self, server: Any, ports: Any, channel: Any) -> None:
        self.server = server
        self.metrics_port = ports.metrics_port
        self.channel = channel
        self.ranking = ranking_pb2_grpc.RankingServiceStub(channel)
        self.release = release_pb2_grpc.ReleaseServiceStub(channel)

    async def rank(self, candidates: Any, wait_s: float = TIMEOUT_S, **request: Any):
        """Rank items by id, or candidates as they are."""
        messages = [ranking_pb2.RankCandidate(item_id=one) if isinstance(one, str) else one for one in candidates]
        return await self.ranking.Rank(ranking_pb2.RankRequest(candidates=messages, **request), timeout=wait_s)

    def stage(self):
        """Return the second stage being served."""
        with self.server._live.lease() as stage:
            return stage

    async def refused(self, call: Any, code: Any, message: str) -> Any:
        """Check that a call is refused with a status and a message; returns the error."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is code
        assert message in raised.value.details()
        return raised.value


@pytest.fixture
async def service(tiny_release: Path):
    """Return a running ranking service."""
    settings, metrics = (
        Settings(
            release=str(tiny_release),
            port=0,
            metrics_port=0,
            request_timeout_s=60.0,
            cross_encoder_depth=MAX_CANDIDATES,
        ),
        Metrics("ranking"),
    )
    server = RankingServer(settings, metrics)
    async with running(server, settings, metrics) as ports, open_channel(f"127.0.0.1:{ports.port}") as channel:
        yield Running(server, ports, channel)


@pytest.fixture
def ids(tiny_release: Path) -> list[str]:
    """Return the ids of the catalogue's items, more than 200."""
    return Catalogue.open(open_release(str(tiny_release)).file(CATALOGUE)).item_ids

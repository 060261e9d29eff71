"""A running retrieval service on a small real release."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from shortlist.release.v1 import release_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from common.release.layout import POPULARITY
from common.release.store import open_release
from common.server.channel import open_channel
from common.server.server import running
from common.server.telemetry import Metrics
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.server.server import RetrievalServer
from services.retrieval.settings import Settings

TIMEOUT_S = 30.0
Item = retrieval_pb2.Item


class Running:
    """A server and a channel to it."""

    def __init__(self, server: RetrievalServer, metrics_port: int, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.metrics_port = metrics_port
        self.channel = channel
        self.stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        self.release = release_pb2_grpc.ReleaseServiceStub(channel)

    async def retrieve(self, **request: Any) -> retrieval_pb2.RetrieveResponse:
        """Retrieve candidates."""
        return await self.stub.Retrieve(retrieval_pb2.RetrieveRequest(**request), timeout=TIMEOUT_S)

    async def upsert(self, *items: Item) -> retrieval_pb2.UpsertItemsResponse:
        """Upsert items."""
        return await self.stub.UpsertItems(retrieval_pb2.UpsertItemsRequest(items=items), timeout=TIMEOUT_S)

    async def delete(self, *item_ids: str) -> retrieval_pb2.DeleteItemsResponse:
        """Delete items."""
        return await self.stub.DeleteItems(retrieval_pb2.DeleteItemsRequest(item_ids=item_ids), timeout=TIMEOUT_S)

    async def read(self, *item_ids: str) -> retrieval_pb2.GetItemsResponse:
        """Read items."""
        return await self.stub.GetItems(retrieval_pb2.GetItemsRequest(item_ids=item_ids), timeout=TIMEOUT_S)

    async def refuses(self, call: Awaitable[Any], code: grpc.StatusCode, message: str) -> grpc.aio.AioRpcError:
        """Check the status and the message of a refused call; returns the error."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() is code
        assert message in (raised.value.details() or "")
        return raised.value

    @staticmethod
    def ids(response: retrieval_pb2.RetrieveResponse) -> list[str]:
        """Return the ids of the candidates."""
        return [candidate.item_id for candidate in response.candidates]

    def stage(self) -> FirstStage:
        """Return the first stage being served."""
        with self.server._live.lease() as served:
            return served.stage


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def serve(tiny_release: Path, tmp_path: Path) -> Serve:
    """Return how a retrieval service is run; all of them use the same folder of changes."""

    @asynccontextmanager
    async def serve_(**given: Any) -> AsyncIterator[Running]:
        values = {"release": str(tiny_release), "data_dir": tmp_path / "changes", "request_timeout_s": 60.0} | given
        settings, metrics = Settings(port=0, metrics_port=0, **values), Metrics("retrieval")
        server = RetrievalServer(settings, metrics)
        async with running(server, settings, metrics) as ports, open_channel(f"127.0.0.1:{ports.port}") as channel:
            yield Running(server, ports.metrics_port, channel)

    return serve_


@pytest.fixture
async def service(serve: Serve) -> AsyncIterator[Running]:
    """Return a running retrieval service."""
    async with serve() as service:
        yield service


@pytest.fixture
def history(tiny_release: Path) -> list[str]:
    """Return items of the release, all of one category."""
    popularity = np.load(open_release(str(tiny_release)).file(POPULARITY))
    assert popularity.max() > 0
    return ["dairy-milk-red-0", "dairy-milk-white-0", "dairy-cheese-fresh-1"]

"""Two retrieval servers that share a Redis stream, over the wire."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from shortlist.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from common.errors import NotReady
from common.server.channel import open_channel
from common.server.server import running
from common.server.telemetry import Metrics
from services.retrieval.server.server import RetrievalServer
from services.retrieval.settings import Settings
from testing.redis_server import RedisServer

TIMEOUT_S = 30.0
Item = retrieval_pb2.Item


class Replica:
    """One of the servers."""

    def __init__(self, channel: grpc.aio.Channel, metrics: Metrics) -> None:
        self.stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)
        self.metrics = metrics

    async def upsert(self, *items: Item) -> retrieval_pb2.UpsertItemsResponse:
        """Upsert items."""
        return await self.stub.UpsertItems(retrieval_pb2.UpsertItemsRequest(items=items), timeout=TIMEOUT_S)

    async def delete(self, *item_ids: str) -> retrieval_pb2.DeleteItemsResponse:
        """Delete items."""
        return await self.stub.DeleteItems(retrieval_pb2.DeleteItemsRequest(item_ids=item_ids), timeout=TIMEOUT_S)

    async def found(self) -> dict[str, float]:
        """Search for everything; returns prices."""
        answer = await self.stub.Retrieve(retrieval_pb2.RetrieveRequest(limit=1_000), timeout=TIMEOUT_S)
        return {candidate.item_id: candidate.price for candidate in answer.candidates}

    async def until(self, holds: Callable[[dict[str, float]], bool]) -> None:
        """Search until an answer is as it should be."""
        async with asyncio.timeout(TIMEOUT_S):
            while not holds(await self.found()):  # noqa: ASYNC110 - servers tell nobody
                await asyncio.sleep(0)

    def gauge(self, name: str) -> float | None:
        """Return what a metric says."""
        return self.metrics.registry.get_sample_value(f"shortlist_retrieval_{name}")


Serve = Callable[[], AbstractAsyncContextManager[Replica]]


@pytest.fixture
def serve(tiny_release: Path, redis: RedisServer) -> Serve:
    """Return how one more server is run."""

    @asynccontextmanager
    async def serve_() -> AsyncIterator[Replica]:
        settings = Settings(port=0, metrics_port=0, release=str(tiny_release), changes=redis.url("shop"))
        metrics = Metrics("retrieval")
        async with (
            running(RetrievalServer(settings, metrics), settings, metrics) as ports,
            open_channel(f"127.0.0.1:{ports.port}") as channel,
        ):
            yield Replica(channel, metrics)

    return serve_


async def test_a_change_is_found_on_every_server(serve: Serve):
    """What one server acknowledged the other finds soon after, and a server that starts later finds it at once."""
    async with serve() as one, serve() as other:
        items = (Item(item_id="new", title="fresh milk", price=7), Item(item_id="newer", title="red apple", price=8))
        assert (await one.upsert(*items)).inserted == 2
        await other.until(lambda found: found.get("newer") == 8)
        assert (await other.delete("new", "dairy-milk-red-0")).deleted == 2
        await one.until(lambda found: not {"new", "dairy-milk-red-0"} & found.keys())
        async with serve() as late:
            assert await late.found() == await one.found() == await other.found()
        assert one.gauge("items") == other.gauge("items") == len(await one.found())


async def test_redis_goes_away_and_comes_back(serve: Serve, redis: RedisServer):
    """Without Redis changes are UNAVAILABLE while searches go on; with it back, changes are made and seen again."""
    async with serve() as one, serve() as other:
        await one.upsert(Item(item_id="new", title="fresh milk", price=7))
        await other.until(lambda found: "new" in found)
        redis.signal(signal.SIGKILL)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await one.delete("new")
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "shop at 127.0.0.1" in (raised.value.details() or "")
        assert "new" in await one.found()
        async with asyncio.timeout(TIMEOUT_S):
            while one.gauge("changes_connected"):  # noqa: ASYNC110 - nor do gauges
                await asyncio.sleep(0.01)
        redis.start()
        await _repeated(other)
        await one.until(lambda found: found.get("new") == 9)
        assert one.gauge("changes_connected") == other.gauge("changes_connected") == 1


async def test_a_server_does_not_start_without_redis(serve: Serve, redis: RedisServer):
    """A server that can't read the changes does not serve a catalogue that may be wrong."""
    redis.signal(signal.SIGKILL)
    with pytest.raises(NotReady, match="changes can't be reached"):
        async with serve():
            pass


def test_one_feed_at_a_time(tmp_path: Path):
    """A log and a stream at once, and a stream that is none, are refused."""
    with pytest.raises(ValueError, match="data_dir and changes both keep changes"):
        Settings(data_dir=tmp_path, changes="redis://r/0")
    with pytest.raises(ValueError, match="no scheme of Redis"):
        Settings(changes="kafka://r/0")


async def _repeated(replica: Replica) -> None:
    """Repeat a change until it is made."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                await replica.upsert(Item(item_id="new", title="fresh milk", price=9))
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - until Redis is there
            else:
                return

"""Two retrieval servers that share a Redis stream, over gRPC."""

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
_LOSSES = "shortlist_retrieval_change_stream_losses_total"


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
        """Search until the prices found meet a condition."""
        async with asyncio.timeout(TIMEOUT_S):
            while not holds(await self.found()):  # noqa: ASYNC110 - servers send no event
                await asyncio.sleep(0)

    def gauge(self, name: str) -> float | None:
        """Return the value of a metric."""
        return self.metrics.registry.get_sample_value(f"shortlist_retrieval_{name}")


Serve = Callable[[], AbstractAsyncContextManager[Replica]]


@pytest.fixture
def serve(tiny_release: Path, redis: RedisServer) -> Serve:
    """Return how another server is run."""

    @asynccontextmanager
    async def serve_() -> AsyncIterator[Replica]:
        settings = Settings(port=0, metrics_port=0, release=str(tiny_release), change_stream=redis.url("shop"))
        metrics = Metrics("retrieval")
        async with (
            running(RetrievalServer(settings, metrics), settings, metrics) as ports,
            open_channel(f"127.0.0.1:{ports.port}") as channel,
        ):
            yield Replica(channel, metrics)

    return serve_


async def test_a_change_is_found_on_every_server(serve: Serve):
    """A change that one server acknowledged reaches the other; a server that starts later has it from the start."""
    async with serve() as one, serve() as other:
        items = (Item(item_id="new", title="fresh milk", price=7), Item(item_id="newer", title="red apple", price=8))
        assert (await one.upsert(*items)).inserted == 2
        await other.until(lambda found: found.get("newer") == 8)
        assert (await other.delete("new", "dairy-milk-red-0")).deleted == 2
        await one.until(lambda found: not {"new", "dairy-milk-red-0"} & found.keys())
        async with serve() as late:
            assert await late.found() == await one.found() == await other.found()
        assert one.gauge("items") == other.gauge("items") == len(await one.found())


async def test_a_redis_outage(serve: Serve, redis: RedisServer):
    """While Redis is down changes are UNAVAILABLE and searches work; afterwards changes reach both servers again."""
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
            while one.gauge("change_stream_connected"):  # noqa: ASYNC110 - gauges send no event
                await asyncio.sleep(0.01)
        redis.start()
        await _upsert_until_accepted(other)
        await one.until(lambda found: found.get("new") == 9)
        assert one.gauge("change_stream_connected") == other.gauge("change_stream_connected") == 1
        assert one.gauge("change_stream_lag_seconds") >= 0


async def test_redis_that_restarts_empty_is_restored(serve: Serve, redis: RedisServer):
    """What the stream lost is written again by a running server; servers that start later have every change."""
    async with serve() as one, serve() as other:
        await one.upsert(Item(item_id="new", title="fresh milk", price=7), Item(item_id="gone", title="milk", price=1))
        await other.delete("gone", "dairy-milk-red-0")
        await one.until(lambda found: not {"gone", "dairy-milk-red-0"} & found.keys())
        before = await one.found()
        redis.lose_everything()
        async with asyncio.timeout(TIMEOUT_S):
            while not await asyncio.to_thread(redis.client.exists, "shop:snapshot"):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        async with serve() as late:
            assert await late.found() == await one.found() == await other.found() == before
            await _upsert_until_accepted(late)
            await one.until(lambda found: found.get("new") == 9)
            await other.until(lambda found: found.get("new") == 9)
        assert one.gauge("change_stream_connected") == 1
        losses = [replica.metrics.registry.get_sample_value(_LOSSES, {"restored": "true"}) for replica in (one, other)]
        assert losses == [1, 1]


async def test_a_server_does_not_start_without_redis(serve: Serve, redis: RedisServer):
    """A server that can't read the changes does not start, since its catalogue might be wrong."""
    redis.signal(signal.SIGKILL)
    with pytest.raises(NotReady, match="changes cannot be reached"):
        async with serve():
            pass


async def _upsert_until_accepted(replica: Replica) -> None:
    """Repeat an upsert until it is accepted."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                await replica.upsert(Item(item_id="new", title="fresh milk", price=9))
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - until Redis is up
            else:
                return

"""Writers that know what was acknowledged."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from benchmarks.reliability.acknowledged_writes import CatalogueWriter, EventWriter


class _Server:
    """Keeps events and prices in memory, and fails on demand."""

    def __init__(self) -> None:
        self.events: set[str] = set()
        self.prices: dict[str, float] = {}
        self.fails = False

    async def RecordEvents(self, request: gateway_pb2.RecordEventsRequest, **_: Any) -> Any:  # noqa: N802
        self._fail()
        new = {event.event_id for event in request.events} - self.events
        self.events |= new
        return gateway_pb2.RecordEventsResponse(recorded=len(new))

    async def UpsertItems(self, request: retrieval_pb2.UpsertItemsRequest, **_: Any) -> None:  # noqa: N802
        self._fail()
        self.prices |= {item.item_id: item.price for item in request.items}

    async def DeleteItems(self, request: retrieval_pb2.DeleteItemsRequest, **_: Any) -> None:  # noqa: N802
        self._fail()
        for item_id in request.item_ids:
            self.prices.pop(item_id, None)

    async def GetItems(self, request: retrieval_pb2.GetItemsRequest, **_: Any) -> Any:  # noqa: N802
        found = {item_id: self.prices[item_id] for item_id in request.item_ids if item_id in self.prices}
        return retrieval_pb2.GetItemsResponse(
            items=[retrieval_pb2.Item(item_id=item_id, price=price) for item_id, price in found.items()]
        )

    def _fail(self) -> None:
        if self.fails:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())


@pytest.fixture
def server() -> _Server:
    return _Server()


async def test_lost_events_are_counted(server: _Server):
    """Of the acknowledged events, those that the server does not know are lost."""
    writer = EventWriter(server)
    for _ in range(10):
        assert await writer.write()
    assert await writer.lost() == 0
    server.events -= {"chaos-3", "chaos-4"}
    assert await writer.lost() == 2


async def test_refused_events_are_not_expected(server: _Server):
    """An event that was not acknowledged may be missing."""
    writer = EventWriter(server)
    server.fails = True
    assert not await writer.write()
    server.fails = False
    assert (await writer.lost(), writer.failed) == (0, 1)


async def test_lost_and_restored_items_are_counted_on_each_server(server: _Server):
    """A missing item, another price and a deleted item that is back are each a loss."""
    writer = CatalogueWriter([server], "seed")
    for _ in range(60):
        assert await writer.write(server)
    assert await writer.lost() == 0
    present = sorted(item_id for item_id, price in writer.prices.items() if price is not None)
    deleted = next(item_id for item_id, price in writer.prices.items() if price is None)
    del server.prices[present[0]]
    server.prices[present[1]] = -1.0
    server.prices[deleted] = 1.0
    assert await writer.lost() == 3


async def test_an_item_with_a_failed_change_is_left_alone(server: _Server):
    """After a failure either state is right, and the item is neither compared nor changed again."""
    writer = CatalogueWriter([server], "seed")
    for _ in range(30):
        await writer.write(server)
    server.fails = True
    before = set(writer.prices)
    for _ in range(10):
        await writer.write(server)
    assert writer.failed == 10
    for item_id in before - set(writer.prices):
        server.prices.pop(item_id, None)
    assert await writer.lost() == 0


async def test_the_number_of_items_is_bounded(server: _Server):
    """Once there are as many as allowed, existing items are changed."""
    writer = CatalogueWriter([server], "seed", max_items=5)
    for _ in range(100):
        await writer.write(server)
    assert len(server.prices) <= 5
    assert await writer.lost() == 0


async def test_a_server_that_does_not_follow_is_seen(server: _Server):
    """A change that does not reach the other server in time is told; one that does is too."""
    writer = CatalogueWriter([server], "seed")
    assert await writer.is_seen(server, server, 1.0)
    assert not await writer.is_seen(server, _Server(), 0.1)

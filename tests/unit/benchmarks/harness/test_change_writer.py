"""The faults that a benchmark's writer finds in a server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from shortlist.retrieval.v1 import retrieval_pb2

from benchmarks.harness.change_writer import (
    NO_PRICE,
    ChangeWriter,
    Faults,
    Prices,
    prices_of,
    search_while_changing,
    searched_prices,
)


class Shop:
    """A stub that keeps prices in memory, answers after a moment, and fails a change on demand."""

    def __init__(self, prices: Prices) -> None:
        self.prices = prices
        self.fails = False
        self.shown: list[str] = []
        self.calls = 0

    async def UpsertItems(self, request: retrieval_pb2.UpsertItemsRequest, **_: Any) -> None:  # noqa: N802
        """Set prices."""
        await self._change({item.item_id: item.price for item in request.items})

    async def DeleteItems(self, request: retrieval_pb2.DeleteItemsRequest, **_: Any) -> None:  # noqa: N802
        """Remove items."""
        await self._change(dict.fromkeys(request.item_ids))

    async def GetItems(self, request: retrieval_pb2.GetItemsRequest, **_: Any) -> retrieval_pb2.GetItemsResponse:  # noqa: N802
        """Read items."""
        items = [retrieval_pb2.Item(item_id=item_id, **_price(price)) for item_id, price in self._there()]
        return retrieval_pb2.GetItemsResponse(items=[item for item in items if item.item_id in request.item_ids])

    async def Retrieve(self, _request: retrieval_pb2.RetrieveRequest, **_: Any) -> retrieval_pb2.RetrieveResponse:  # noqa: N802
        """Return all items and those of `shown`; the second search does not end."""
        self.calls += 1
        if self.calls > 1:
            await asyncio.Event().wait()
        found = [*self._there(), *((item_id, 1.0) for item_id in self.shown)]
        return retrieval_pb2.RetrieveResponse(
            candidates=[retrieval_pb2.Candidate(item_id=item_id, **_price(price)) for item_id, price in found]
        )

    def _there(self) -> list[tuple[str, float]]:
        return [(item_id, price) for item_id, price in self.prices.items() if price is not None]

    async def _change(self, prices: Prices) -> None:
        await asyncio.sleep(0)
        if self.fails:
            raise ConnectionError("killed")
        self.prices |= prices


def _price(price: float) -> dict[str, Any]:
    return {} if price == NO_PRICE else {"price": price}


@pytest.fixture
def shop() -> Shop:
    """Return a shop of ten items, one of them without a price, one deleted."""
    return Shop({f"i{number}": float(number) for number in range(8)} | {"i8": NO_PRICE, "i9": None})


@pytest.fixture
def writer(shop: Shop) -> ChangeWriter:
    """Return a writer of the shop's items."""
    return ChangeWriter(0, 1, shop.prices, seed=1)


async def failed(writer: ChangeWriter, shop: Shop) -> None:
    """Let a change of several items fail."""
    shop.fails = True
    while len(writer.in_flight) < 2:
        with pytest.raises(ConnectionError):
            await writer.change(shop)
    shop.fails = False


async def test_a_correct_server_has_no_faults(writer: ChangeWriter, shop: Shop):
    """A server with all acknowledged changes has no faults, whether or not it applied the unacknowledged one."""
    faults = Faults()
    for made in (True, False):
        for _ in range(20):
            await writer.change(shop)
        await failed(writer, shop)
        shop.prices |= writer.in_flight if made else {}
        writer.compare(await prices_of(shop, list(shop.prices)), faults)
    assert writer.changes == 40
    assert faults == Faults()


async def test_lost_changes_are_counted(writer: ChangeWriter, shop: Shop):
    """An item that is not in its last acknowledged state counts as lost, once."""
    faults = Faults()
    shop.prices["i3"], shop.prices["i9"] = 2.5, 1.0
    for _ in range(2):
        writer.compare(await prices_of(shop, list(shop.prices)), faults)
    assert faults == Faults(lost=2)


async def test_half_a_change_is_counted(writer: ChangeWriter, shop: Shop):
    """A change with only some of its items applied counts as applied in part."""
    faults = Faults()
    await failed(writer, shop)
    item_id, price = next((item_id, price) for item_id, price in writer.in_flight.items() if price is not None)
    shop.prices[item_id] = price
    writer.compare(await prices_of(shop, list(shop.prices)), faults)
    assert faults == Faults(half_applied=1)


async def test_deleted_items_that_return_are_counted(writer: ChangeWriter, shop: Shop):
    """A search that finds an item after its acknowledged deletion is a fault."""
    faults = Faults()
    shop.shown = ["i9", "i1"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(search_while_changing(shop, [writer], faults), 0.05)
    assert faults == Faults(returned=1)


async def test_searched_items_have_prices(shop: Shop):
    """Found items have their prices, or `NO_PRICE`."""
    assert (await searched_prices(shop))["i8"] == NO_PRICE

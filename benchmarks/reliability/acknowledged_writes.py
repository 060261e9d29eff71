"""Writers that keep what was acknowledged, and compare it with what the servers have afterwards."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import Any, Final

import grpc
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

_TIMEOUT_S: Final = 3.0
_PAUSE_S: Final = 0.05
_BATCH: Final = 500
_DELETION_SHARE: Final = 0.3
_USERS: Final = 20


class EventWriter:
    """Records events with ids that were never used before.

    Args:
        gateway: The gateway's stub.

    Attributes:
        acknowledged: The events whose recording was acknowledged.
        failed: How many calls failed.
    """

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        self._number = 0
        self.acknowledged: list[gateway_pb2.Event] = []
        self.failed = 0

    async def run(self) -> None:
        """Record events until cancelled."""
        while True:
            await self.write()
            await asyncio.sleep(_PAUSE_S)

    async def write(self) -> bool:
        """Record two events; returns whether that was acknowledged."""
        events = [self._event() for _ in range(2)]
        try:
            await self._gateway.RecordEvents(gateway_pb2.RecordEventsRequest(events=events), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            self.failed += 1
            return False
        self.acknowledged += events
        return True

    async def lost(self) -> int:
        """Record every acknowledged event again, and return how many the gateway did not know."""
        recorded = 0
        for events in _batches(self.acknowledged):
            request = gateway_pb2.RecordEventsRequest(events=events)
            recorded += (await self._gateway.RecordEvents(request, timeout=10 * _TIMEOUT_S)).recorded
        return recorded

    def _event(self) -> gateway_pb2.Event:
        self._number += 1
        return gateway_pb2.Event(
            event_id=f"chaos-{self._number}",
            user_id=f"chaos-user-{self._number % _USERS}",
            kind=gateway_pb2.EVENT_KIND_VIEW,
            item_id="dairy-milk-red-0",
        )


class CatalogueWriter:
    """Upserts and deletes items on either of several retrieval servers.

    An item whose change was not acknowledged may be in either state from then on: it is not changed or compared again.

    Args:
        servers: The servers' stubs.
        seed: The seed of the choices.
        max_items: Once this many exist, they are changed and no new ones are added.

    Attributes:
        prices: The acknowledged price of each item; None if it was deleted.
        known: Every item that may exist or have existed.
        failed: How many calls failed.
    """

    def __init__(self, servers: Sequence[Any], seed: str, max_items: int = 1_000_000) -> None:
        self._servers = servers
        self._max_items = max_items
        self._chosen = random.Random(seed)
        self._number = 0
        self._changed = ""
        self.prices: dict[str, float | None] = {}
        self.known: set[str] = set()
        self.failed = 0

    async def run(self) -> None:
        """Change items until cancelled."""
        while True:
            await self.write(self._chosen.choice(self._servers))
            await asyncio.sleep(_PAUSE_S)

    async def write(self, server: Any, *, may_delete: bool = True) -> bool:
        """Make one change; returns whether it was acknowledged."""
        self._number += 1
        existing = sorted(item_id for item_id, price in self.prices.items() if price is not None)
        deletes = may_delete and bool(existing) and self._chosen.random() < _DELETION_SHARE
        changes = deletes or len(existing) >= self._max_items
        item_id = self._chosen.choice(existing) if changes else f"chaos-{len(self.known)}"
        price = None if deletes else float(self._number)
        self.known.add(item_id)
        self.prices.pop(item_id, None)
        try:
            await _change(server, item_id, price)
        except grpc.aio.AioRpcError:
            self.failed += 1
            return False
        self.prices[item_id] = price
        self._changed = item_id
        return True

    async def is_seen(self, write_to: Any, read_from: Any, within_s: float) -> bool:
        """Upsert an item on one server, and return whether the other one has it in time."""
        if not await self.write(write_to, may_delete=False):
            return False
        item_id = self._changed
        for _ in range(round(within_s / _PAUSE_S)):
            if await _differences(read_from, {item_id: self.prices[item_id]}) == 0:
                return True
            await asyncio.sleep(_PAUSE_S)
        return False

    async def lost(self) -> int:
        """Return how many acknowledged states the servers do not have, counted on each."""
        return sum([await _differences(server, self.prices) for server in self._servers])


async def _change(server: Any, item_id: str, price: float | None) -> None:
    if price is None:
        await server.DeleteItems(retrieval_pb2.DeleteItemsRequest(item_ids=[item_id]), timeout=_TIMEOUT_S)
        return
    item = retrieval_pb2.Item(item_id=item_id, title="fresh milk", brand="orchard", price=price)
    await server.UpsertItems(retrieval_pb2.UpsertItemsRequest(items=[item]), timeout=_TIMEOUT_S)


async def _differences(server: Any, prices: dict[str, float | None]) -> int:
    """Return how many items a server has in another state."""
    differences = 0
    for ids in _batches(sorted(prices)):
        answer = await server.GetItems(retrieval_pb2.GetItemsRequest(item_ids=ids), timeout=10 * _TIMEOUT_S)
        found = {item.item_id: item.price for item in answer.items}
        differences += sum(found.get(item_id) != prices[item_id] for item_id in ids)
    return differences


def _batches(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[at : at + _BATCH] for at in range(0, len(values), _BATCH))

"""A writer that changes items of a retrieval server, and knows which states the items may have after a crash."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shortlist.retrieval.v1 import retrieval_pb2

if TYPE_CHECKING:  # the stubs of asyncio are a type alone
    from shortlist.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceAsyncStub

Prices = dict[str, float | None]
"""The price of each item: None if the item does not exist, `NO_PRICE` if it has no price."""


NO_PRICE: Final = -1.0
TIMEOUT_S: Final = 30.0
_MAX_ITEMS: Final = 8
_DELETION_SHARE: Final = 0.4
_TITLES: Final = ("fresh milk", "large towel", "red apple", "small bread", "white soap")


@dataclass
class Faults:
    """Errors of a server.

    Attributes:
        lost: Items that are neither in their acknowledged state nor in that of a later change.
        half_applied: Unacknowledged changes that were applied in part.
        returned: Deleted items that a search returned.
    """

    lost: int = 0
    half_applied: int = 0
    returned: int = 0


class ChangeWriter:
    """Changes its own items, one call at a time; each upsert sets a price that was never set before.

    Args:
        number: The number of this writer.
        writers: How many writers there are.
        prices: The current state of its items.
        seed: The random seed.
    """

    def __init__(self, number: int, writers: int, prices: Prices, seed: int) -> None:
        self.acknowledged = dict(prices)
        self.in_flight: Prices = {}
        self.changes = 0
        self.begun = dict.fromkeys(prices, 0)
        self._number = number
        self._writers = writers
        self._random = random.Random(f"{seed}-{number}")
        self._version = 0

    async def run(self, stub: RetrievalServiceAsyncStub) -> None:
        """Make changes one after the other until one fails; raises its error."""
        while True:
            await self.change(stub)

    async def change(self, stub: RetrievalServiceAsyncStub) -> None:
        """Upsert or delete some items in one call."""
        chosen = self._random.sample(sorted(self.acknowledged), self._random.randint(1, _MAX_ITEMS))
        deletes = self._random.random() < _DELETION_SHARE
        self._version += 1
        self.in_flight = dict.fromkeys(chosen, None if deletes else float(1_000 + self._unique()))
        for item_id in chosen:
            self.begun[item_id] += 1
        await (self._delete(stub, chosen) if deletes else self._upsert(stub, chosen))
        self.acknowledged |= self.in_flight
        self.in_flight = {}
        self.changes += 1

    def compare(self, found: Mapping[str, float | None], faults: Faults) -> None:
        """Count differences of the server's items from the expected ones, and continue from the server's.

        An unacknowledged change may be applied or not, but as a whole.
        """
        actual = {item_id: found.get(item_id) for item_id in self.acknowledged}
        after = self.acknowledged | self.in_flight
        if actual not in (self.acknowledged, after):
            wrong = [
                item_id for item_id in actual if actual[item_id] not in (self.acknowledged[item_id], after[item_id])
            ]
            faults.lost += len(wrong)
            faults.half_applied += not wrong
        self.acknowledged, self.in_flight = actual, {}

    def deleted(self) -> dict[str, int]:
        """Return the items whose deletion is acknowledged and that no change in flight contains.

        The value is the number of changes begun: until it grows, no search may return the item.
        """
        return {
            item_id: self.begun[item_id]
            for item_id, price in self.acknowledged.items()
            if price is None and item_id not in self.in_flight
        }

    def _unique(self) -> int:
        return self._version * self._writers + self._number

    async def _upsert(self, stub: RetrievalServiceAsyncStub, item_ids: Sequence[str]) -> None:
        title = self._random.choice(_TITLES)
        items = [
            retrieval_pb2.Item(item_id=item_id, title=title, price=self.in_flight[item_id]) for item_id in item_ids
        ]
        await stub.UpsertItems(retrieval_pb2.UpsertItemsRequest(items=items), timeout=TIMEOUT_S)

    async def _delete(self, stub: RetrievalServiceAsyncStub, item_ids: Sequence[str]) -> None:
        await stub.DeleteItems(retrieval_pb2.DeleteItemsRequest(item_ids=item_ids), timeout=TIMEOUT_S)


async def search_while_changing(
    stub: RetrievalServiceAsyncStub, writers: Sequence[ChangeWriter], faults: Faults
) -> None:
    """Search for all items until cancelled, and count deleted items that are returned."""
    while True:
        deleted = [writer.deleted() for writer in writers]
        answer = await stub.Retrieve(retrieval_pb2.RetrieveRequest(limit=1_000), timeout=TIMEOUT_S)
        found = {candidate.item_id for candidate in answer.candidates}
        for writer, its in zip(writers, deleted, strict=True):
            faults.returned += sum(writer.begun[item_id] == begun for item_id, begun in its.items() if item_id in found)


async def prices_of(stub: RetrievalServiceAsyncStub, item_ids: Sequence[str]) -> Prices:
    """Read at most 1,000 items."""
    answer = await stub.GetItems(retrieval_pb2.GetItemsRequest(item_ids=item_ids), timeout=TIMEOUT_S)
    return dict.fromkeys(item_ids) | _prices(answer.items)


async def searched_prices(stub: RetrievalServiceAsyncStub, *, query: str = "") -> Prices:
    """Search for at most 1,000 items: in every source or, with a query, by vectors alone."""
    request = retrieval_pb2.RetrieveRequest(limit=1_000, query=query, sources=["semantic"] if query else [])
    return _prices((await stub.Retrieve(request, timeout=TIMEOUT_S)).candidates)


def _prices(items: Iterable[retrieval_pb2.Item | retrieval_pb2.Candidate]) -> Prices:
    return {item.item_id: item.price if item.HasField("price") else NO_PRICE for item in items}

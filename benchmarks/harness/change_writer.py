"""A writer that changes items of a retrieval server, and knows what must be there whatever happens to the server."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shortlist.retrieval.v1 import retrieval_pb2

if TYPE_CHECKING:  # the stubs of asyncio are a type alone
    from shortlist.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceAsyncStub

Prices = dict[str, float | None]
"""The price of each item, None where the item is not there; `NO_PRICE` where it is there and has none."""


NO_PRICE: Final = -1.0
TIMEOUT_S: Final = 30.0
_MOST_ITEMS: Final = 8
_DELETIONS: Final = 0.4
_TITLES: Final = ("fresh milk", "large towel", "red apple", "small bread", "white soap")


@dataclass
class Faults:
    """What a server got wrong.

    Attributes:
        lost: Items that are not as an acknowledged change, and no later one, left them.
        half_applied: Changes without an acknowledgement of which a part is there.
        returned: Deleted items that a search returned.
    """

    lost: int = 0
    half_applied: int = 0
    returned: int = 0


class ChangeWriter:
    """Changes items that nobody else changes, one call at a time; each upsert sets a price that was never set before.

    Args:
        number: Of this writer.
        writers: How many there are.
        prices: Its items as they are.
        seed: Of what it chooses.
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

    async def work(self, stub: RetrievalServiceAsyncStub) -> None:
        """Make changes one after the other until one fails; raises what it failed with."""
        while True:
            await self.change(stub)

    async def change(self, stub: RetrievalServiceAsyncStub) -> None:
        """Make one change of some items."""
        chosen = self._random.sample(sorted(self.acknowledged), self._random.randint(1, _MOST_ITEMS))
        deletes = self._random.random() < _DELETIONS
        self._version += 1
        self.in_flight = dict.fromkeys(chosen, None if deletes else float(1_000 + self._unique()))
        for item_id in chosen:
            self.begun[item_id] += 1
        await (self._delete(stub, chosen) if deletes else self._upsert(stub, chosen))
        self.acknowledged |= self.in_flight
        self.in_flight = {}
        self.changes += 1

    def settle(self, found: Mapping[str, float | None], faults: Faults) -> None:
        """Compare what is there with what must be, and go on from it.

        An unacknowledged change may be there or not, but as a whole.
        """
        mine = {item_id: found.get(item_id) for item_id in self.acknowledged}
        after = self.acknowledged | self.in_flight
        if mine not in (self.acknowledged, after):
            wrong = [item_id for item_id in mine if mine[item_id] not in (self.acknowledged[item_id], after[item_id])]
            faults.lost += len(wrong)
            faults.half_applied += not wrong
        self.acknowledged, self.in_flight = mine, {}

    def deleted(self) -> dict[str, int]:
        """Return the items whose deletion was acknowledged and that no change under way touches.

        With each stands how many changes of it were begun: while that stays, no search may return it.
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


async def search_beside(stub: RetrievalServiceAsyncStub, writers: Sequence[ChangeWriter], faults: Faults) -> None:
    """Search without end for everything there is, and count deleted items that come back."""
    while True:
        gone = [writer.deleted() for writer in writers]
        answer = await stub.Retrieve(retrieval_pb2.RetrieveRequest(limit=1_000), timeout=TIMEOUT_S)
        found = {candidate.item_id for candidate in answer.candidates}
        for writer, deleted in zip(writers, gone, strict=True):
            faults.returned += sum(
                writer.begun[item_id] == begun for item_id, begun in deleted.items() if item_id in found
            )


async def prices_of(stub: RetrievalServiceAsyncStub, item_ids: Sequence[str]) -> Prices:
    """Read items; at most 1,000."""
    answer = await stub.GetItems(retrieval_pb2.GetItemsRequest(item_ids=item_ids), timeout=TIMEOUT_S)
    return dict.fromkeys(item_ids) | _prices(answer.items)


async def found_prices(stub: RetrievalServiceAsyncStub, *, query: str = "") -> Prices:
    """Search for everything, through every source or, with a query, through vectors alone; at most 1,000 items."""
    request = retrieval_pb2.RetrieveRequest(limit=1_000, query=query, sources=["semantic"] if query else [])
    return _prices((await stub.Retrieve(request, timeout=TIMEOUT_S)).candidates)


def _prices(items: Iterable[retrieval_pb2.Item | retrieval_pb2.Candidate]) -> Prices:
    return {item.item_id: item.price if item.HasField("price") else NO_PRICE for item in items}

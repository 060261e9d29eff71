"""Pairs that are being read, so that other calls can wait for them instead of reading them again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from services.ranking.pairs.score_cache import ItemKey
from services.ranking.request import CallContext


@dataclass(frozen=True, eq=False)
class PairReading:
    """Pairs that one call is reading.

    Attributes:
        call: The call.
        done: Resolved when the reading ended, in whatever way.
    """

    call: CallContext
    done: asyncio.Future[None]


class InFlightPairs:
    """The pairs that are being read, by user context and item; lives on one event loop."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[bytes, ItemKey], PairReading] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def find(self, context: bytes, item: ItemKey, call: CallContext) -> PairReading | None:
        """Return the reading of a pair that will end early enough for a call, if there is one."""
        in_flight = self._pairs.get((context, item))
        return in_flight if in_flight and in_flight.call.at_least_as_urgent_as(call) else None

    @contextmanager
    def reading(self, context: bytes, items: Sequence[ItemKey], call: CallContext) -> Iterator[None]:
        """Offer these pairs to other calls while the body reads them."""
        in_flight = PairReading(call, asyncio.get_running_loop().create_future())
        keys = [(context, item) for item in items]
        self._pairs |= dict.fromkeys(keys, in_flight)
        try:
            yield
        finally:
            for key in keys:
                if self._pairs.get(key) is in_flight:
                    del self._pairs[key]
            in_flight.done.set_result(None)


async def wait_until_done(readings: Iterable[PairReading]) -> None:
    """Wait for other calls' readings, however they end."""
    if done := {in_flight.done for in_flight in readings}:
        await asyncio.wait(done)

"""Reads pairs at most once: from the cache, from another caller's batch under way, or through the batcher."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import Int64Array, TokenIds
from common.errors import Overloaded
from common.ragged import TokenRows
from services.ranking.batching.batcher import Batcher
from services.ranking.batching.job import LEAST_SHARE, CallContext
from services.ranking.pairs.pair_scores import PairResult, PairScores
from services.ranking.pairs.pair_tokens import PairTemplate
from services.ranking.pairs.score_cache import ItemKey, ScoreCache

_FRESH_WEIGHT: Final = 0.05


# Beside others: a call's pairs may be longer than those of late, and who is let in and turned away later has waited for
# nothing.
_MARGIN: Final = 1.3


_LEAST_WAIT_S: Final = 0.01


_FULL: Final = "there is no time for the {least} pairs that the call insists on; try again later, or insist on fewer"


@dataclass(frozen=True, eq=False)
class _InFlightPairs:
    """Pairs under way, for others who want them too."""

    terms: CallContext
    landed: asyncio.Future[None]


class PairScorer:
    """Reads the pairs of requests; lives on one event loop.

    Args:
        batcher: Reads what has to be read.
        template: Joins context and item.
        cache: Remembers; with 0 entries pairs under way aren't shared either.
        min_read_share: If other calls leave less than this share of the time, nothing is read: the caller is better off
            with an answer at once, and the next caller with the time.
    """

    def __init__(
        self, batcher: Batcher, template: PairTemplate, cache: ScoreCache, min_read_share: float = LEAST_SHARE
    ) -> None:
        self._batcher = batcher
        self._template = template
        self._cache = cache
        self._least_share = min_read_share
        self._fresh_share = 1.0  # of the pairs asked for of late, those that had to be read
        self._flights: dict[tuple[bytes, ItemKey], _InFlightPairs] = {}

    async def read(
        self, context: TokenIds, items: TokenRows, keys: Sequence[ItemKey], terms: CallContext
    ) -> PairResult:
        """Read items beside a context, the first first: as many as the time left allows.

        Args:
            context: The user context's token ids.
            items: The items' token ids, the most important first; the same item twice is read once.
            keys: What tells the items' texts apart; as many as items.
            terms: By when and for whom.

        Raises:
            Overloaded: The queue is full, or leaves too little time for ``terms.least`` pairs.
            RuntimeError: The model failed on every pair.
        """
        if len(set(keys)) == len(keys):
            return await self._read_distinct(_PendingRequest(context, items, keys, terms))
        places = np.array(sorted({key: place for place, key in reversed(list(enumerate(keys)))}.values()))
        distinct = [keys[place] for place in places.tolist()]
        reading = await self._read_distinct(_PendingRequest(context, items.take(places), distinct, terms))
        logit_of = dict(zip(distinct, reading.scores.logits.tolist(), strict=True))
        logits = np.array([logit_of[key] for key in keys], dtype=np.float32)
        return replace(reading, scores=replace(reading.scores, logits=logits))

    def check_room(self, terms: CallContext, promised: int) -> None:
        """Raise Overloaded where there is no time for ``terms.least`` pairs such as were asked for of late.

        Costs next to nothing: for the door, before a call's candidates are looked at.

        Args:
            terms: By when and for whom.
            promised: So many pairs are sure to be read before, though they do not wait yet.
        """
        if terms.least:
            margin = _MARGIN if promised or self._batcher.max_queued_pairs else 1.0
            pairs = (margin * terms.least + promised) * self._fresh_share
            wait_s = self._batcher.wait_s(pairs, terms.deadline, terms.priority)
            if wait_s > 0:
                raise Overloaded(_FULL.format(least=terms.least), retry_after_s=wait_s)

    async def _read_distinct(self, ask: _PendingRequest) -> PairResult:
        logits = self._cache.find(ask.name, ask.keys)
        unknown = np.flatnonzero(np.isnan(logits))
        flights = {place: flight for place in unknown.tolist() if (flight := self._flight(ask, place))}
        shared = np.array(list(flights), dtype=np.int64)
        own = np.setdiff1d(unknown, shared, assume_unique=True) if flights else unknown
        self._fresh_share += _FRESH_WEIGHT * (len(own) / max(len(ask.keys), 1) - self._fresh_share)
        insisted = min(ask.terms.least, len(ask.keys)) - (len(ask.keys) - len(own))
        scores = await self._read_own(ask.part(own), insisted)
        logits[own] = scores.logits
        tried, more = len(own), PairScores.unread(0)
        if flights:
            await _landed(flights.values())
            logits[shared] = self._cache.find(ask.name, ask.part(shared).keys)
            # The other caller was cancelled, or failed: that is not ours to suffer from.
            again = shared[np.isnan(logits[shared])]
            more = await self._read_own(ask.part(again), 0)
            logits[again] = more.logits
            tried += len(again)
        read = tried - scores.failed - more.failed
        total = _total(logits, scores, more)
        return PairResult(total, read, len(logits) - total.failed - read, total.failed)

    async def _read_own(self, ask: _PendingRequest, least: int) -> PairScores:
        """Read as many pairs as there is time for, from the first on; the logits of the others are NaN."""
        answer = PairScores.unread(len(ask.keys))
        ask = ask.part(np.arange(self._affordable(ask, least)))
        with self._under_way(ask):
            pairs = self._template.join(
                TokenRows.from_rows([ask.context]), np.zeros(len(ask.keys), np.int64), ask.items
            )
            terms = ask.terms
            scores = await self._batcher.score(pairs, terms.deadline, terms.priority, terms.owner, anytime=True)
            self._cache.keep(ask.name, ask.keys, scores.logits)
            answer.logits[: len(ask.keys)] = scores.logits
        return replace(scores, logits=answer.logits)

    def _affordable(self, ask: _PendingRequest, least: int) -> int:
        """Return how many pairs to read; raises Overloaded where there is no time for ``least``."""
        lengths, terms = ask.items.lengths + len(ask.context) + 3, ask.terms
        share = 0.0 if least > 0 else self._least_share
        count = self._batcher.affordable(lengths, terms.deadline, terms.priority, share)
        if count < least:
            wait_s = self._batcher.wait_s(least, terms.deadline, terms.priority)
            raise Overloaded(_FULL.format(least=least), retry_after_s=max(wait_s, _LEAST_WAIT_S))
        return count

    def _flight(self, ask: _PendingRequest, place: int) -> _InFlightPairs | None:
        """Return the flight that brings a pair soon enough, if there is one."""
        if not self._flights:
            return None
        flight = self._flights.get((ask.name, ask.keys[place]))
        return flight if flight and flight.terms.at_least_as_soon_as(ask.terms) else None

    @contextlib.contextmanager
    def _under_way(self, ask: _PendingRequest) -> Iterator[None]:
        """Let others know that these pairs are being read."""
        names = [(ask.name, key) for key in ask.keys] if self._cache.entries else []
        flight = _InFlightPairs(ask.terms, asyncio.get_running_loop().create_future())
        self._flights |= dict.fromkeys(names, flight)
        try:
            yield
        finally:
            for name in names:
                if self._flights.get(name) is flight:
                    del self._flights[name]
            flight.landed.set_result(None)


@dataclass(frozen=True)
class _PendingRequest:
    """Distinct items to be read beside one context."""

    context: TokenIds
    items: TokenRows
    keys: Sequence[ItemKey]
    terms: CallContext

    @property
    def name(self) -> bytes:
        return self.context.tobytes()

    def part(self, places: Int64Array) -> _PendingRequest:
        """Return some of the items, in their order."""
        if len(places) == len(self.keys):
            return self
        return replace(self, items=self.items.take(places), keys=[self.keys[place] for place in places.tolist()])


def _total(logits: npt.NDArray[np.float32], one: PairScores, other: PairScores) -> PairScores:
    return PairScores(
        logits,
        max(one.queue_wait_ms, other.queue_wait_ms),
        one.infer_ms + other.infer_ms,
        one.padded_tokens + other.padded_tokens,
        one.delivered + other.delivered,
        one.read_at if math.isnan(other.read_at) else other.read_at,
    )


async def _landed(flights: Iterable[_InFlightPairs]) -> None:
    """Wait for flights, however they end."""
    if landed := {flight.landed for flight in flights}:
        await asyncio.wait(landed)

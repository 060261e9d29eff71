"""Reads pairs at most once: from the cache, from another caller's batch under way, or through the batcher."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from common.errors import DeadlineTooShort
from services.ranking.batcher import Batcher
from services.ranking.jobs import Priority
from services.ranking.pair_scores import PairScores
from services.ranking.pairs import Ints, PairTemplate, TokenRows, Tokens
from services.ranking.score_cache import ItemKey, ScoreCache


@dataclass(frozen=True)
class Terms:
    """On what terms a caller's pairs are read.

    Attributes:
        deadline: When the scores must be there, in seconds of the monotonic clock.
        priority: Who waits.
        owner: The caller, among whom turns are taken.
    """

    deadline: float
    priority: Priority = Priority.INTERACTIVE
    owner: str = ""

    def at_least_as_soon_as(self, other: Terms) -> bool:
        """Tell whether work on these terms is done by the time that work on the others must be."""
        return self.priority <= other.priority and self.deadline <= other.deadline


@dataclass(frozen=True)
class Reading:
    """What became of a request's pairs.

    Attributes:
        scores: The logits, NaN where there was no time to read or the model failed; and what reading took.
        read: How many distinct pairs were read for this request.
        reused: How many distinct pairs came from the cache or from other callers' batches.
        unread: How many distinct pairs there was no time to read, or the model failed on.
    """

    scores: PairScores
    read: int = 0
    reused: int = 0
    unread: int = 0


@dataclass(frozen=True, eq=False)
class _Flight:
    """Pairs under way, for others who want them too."""

    terms: Terms
    landed: asyncio.Future[None]


class PairReader:
    """Reads the pairs of requests; lives on one event loop.

    Args:
        batcher: Reads what has to be read.
        template: Joins context and item.
        cache: Remembers; with 0 entries pairs under way aren't shared either.
    """

    def __init__(self, batcher: Batcher, template: PairTemplate, cache: ScoreCache) -> None:
        self._batcher = batcher
        self._template = template
        self._cache = cache
        self._flights: dict[tuple[bytes, ItemKey], _Flight] = {}

    async def read(self, context: Tokens, items: TokenRows, keys: Sequence[ItemKey], terms: Terms) -> Reading:
        """Read items beside a context, the first first: as many as the time left allows.

        Args:
            context: The person context's token ids.
            items: The items' token ids, the most important first; the same item twice is read once.
            keys: What tells the items' texts apart; as many as items.
            terms: By when and for whom.

        Raises:
            Overloaded: The queue is full.
            RuntimeError: The model failed on every pair.
        """
        place_of = {key: place for place, key in reversed(list(enumerate(keys)))}
        places = sorted(place_of.values())
        distinct = [keys[place] for place in places]
        reading = await self._read_distinct(_Ask(context, items.take(np.array(places, np.int64)), distinct, terms))
        logit_of = dict(zip(distinct, reading.scores.logits.tolist(), strict=True))
        logits = np.array([logit_of[key] for key in keys], dtype=np.float32)
        return replace(reading, scores=replace(reading.scores, logits=logits))

    async def _read_distinct(self, ask: _Ask) -> Reading:
        logits = self._cache.find(ask.name, ask.keys)
        flights = {int(place): self._flight(ask, int(place)) for place in np.flatnonzero(np.isnan(logits))}
        shared = np.array([place for place, flight in flights.items() if flight], dtype=np.int64)
        own = np.array([place for place, flight in flights.items() if not flight], dtype=np.int64)
        scores = await self._read_own(ask.part(own))
        await _landed(flight for flight in flights.values() if flight)
        logits[own] = scores.logits
        logits[shared] = self._cache.find(ask.name, ask.part(shared).keys)
        # The other caller was cancelled, or failed: that is not ours to suffer from.
        again = shared[np.isnan(logits[shared])]
        more = await self._read_own(ask.part(again))
        logits[again] = more.logits
        read = len(own) + len(again) - scores.failed - more.failed
        total = _total(logits, scores, more)
        return Reading(total, read, len(logits) - total.failed - read, total.failed)

    async def _read_own(self, ask: _Ask) -> PairScores:
        """Read as many pairs as there is time for, from the first on; the logits of the others are NaN."""
        answer = PairScores.unread(len(ask.keys))
        lengths = ask.items.lengths + len(ask.context) + 3
        ask = ask.part(np.arange(self._batcher.affordable(lengths, ask.terms.deadline, ask.terms.priority)))
        with self._under_way(ask), contextlib.suppress(DeadlineTooShort):  # expired in the queue: there was no time
            pairs = self._template.join(TokenRows.of([ask.context]), np.zeros(len(ask.keys), np.int64), ask.items)
            scores = await self._batcher.score(pairs, ask.terms.deadline, ask.terms.priority, ask.terms.owner)
            self._cache.keep(ask.name, ask.keys, scores.logits)
            answer.logits[: len(ask.keys)] = scores.logits
            answer = replace(scores, logits=answer.logits)
        return answer

    def _flight(self, ask: _Ask, place: int) -> _Flight | None:
        """Return the flight that brings a pair soon enough, if there is one."""
        flight = self._flights.get((ask.name, ask.keys[place]))
        return flight if flight and flight.terms.at_least_as_soon_as(ask.terms) else None

    @contextlib.contextmanager
    def _under_way(self, ask: _Ask) -> Iterator[None]:
        """Let others know that these pairs are being read."""
        names = [(ask.name, key) for key in ask.keys] if self._cache.entries else []
        flight = _Flight(ask.terms, asyncio.get_running_loop().create_future())
        self._flights |= dict.fromkeys(names, flight)
        try:
            yield
        finally:
            for name in names:
                if self._flights.get(name) is flight:
                    del self._flights[name]
            flight.landed.set_result(None)


@dataclass(frozen=True)
class _Ask:
    """Distinct items to be read beside one context."""

    context: Tokens
    items: TokenRows
    keys: Sequence[ItemKey]
    terms: Terms

    @property
    def name(self) -> bytes:
        return self.context.tobytes()

    def part(self, places: Ints) -> _Ask:
        return replace(self, items=self.items.take(places), keys=[self.keys[place] for place in places.tolist()])


def _total(logits: npt.NDArray[np.float32], one: PairScores, other: PairScores) -> PairScores:
    return PairScores(
        logits,
        max(one.queue_wait_ms, other.queue_wait_ms),
        one.infer_ms + other.infer_ms,
        one.padded_tokens + other.padded_tokens,
    )


async def _landed(flights: Iterable[_Flight]) -> None:
    """Wait for flights, however they end."""
    if landed := {flight.landed for flight in flights}:
        await asyncio.wait(landed)

"""Scores pairs, each read at most once: from the cache, from another call's reading, or through the batcher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from common.arrays import Float32Array, Int64Array, TokenIds
from common.errors import Overloaded
from common.ragged import TokenRows
from services.ranking.batching.batcher import Batcher
from services.ranking.cross_encoder.in_flight_pairs import InFlightPairs, PairReading, wait_until_done
from services.ranking.pairs.pair_scores import PairResult, PairScores
from services.ranking.pairs.pair_tokens import PairTemplate
from services.ranking.pairs.score_cache import ItemKey, ScoreCache
from services.ranking.request import CallContext

# By default a few pairs are read only if they are half of those that could be read without other calls.
MIN_READ_SHARE: Final = 0.5
# The weight of the latest call in the share of pairs that had to be read.
_FRESH_WEIGHT: Final = 0.05
# If other calls wait, a call's pairs may be longer than recent ones, and a call that is admitted and refused later has
# waited for nothing.
_MARGIN: Final = 1.3
_MIN_WAIT_S: Final = 0.01
_NO_TIME: Final = "there is no time for the {min_pairs} pairs that the call needs; try again later, or require fewer"


class PairScorer:
    """Scores the pairs of requests; lives on one event loop.

    Args:
        batcher: Reads pairs.
        template: Joins context and item.
        cache: Logits of pairs read before; with size 0 pairs in flight are not shared either.
        min_read_share: If other calls leave time for less than this share of the pairs that could be read without them,
            nothing is read: the caller is better off with an answer at once, and the next caller with the time.
    """

    def __init__(
        self, batcher: Batcher, template: PairTemplate, cache: ScoreCache, min_read_share: float = MIN_READ_SHARE
    ) -> None:
        self._batcher = batcher
        self._template = template
        self._cache = cache
        self._min_read_share = min_read_share
        self._fresh_share = 1.0  # of recent calls' pairs, those that had to be read
        self._in_flight = InFlightPairs()

    async def score_pairs(
        self, context: TokenIds, items: TokenRows, keys: Sequence[ItemKey], call: CallContext
    ) -> PairResult:
        """Score items for one user context, from the first on, as many as the time left allows.

        Args:
            context: The user context's token ids.
            items: The items' token ids, the most important first; an item given twice is read once.
            keys: The keys of the items' texts, as many as items.
            call: By when and for whom.

        Raises:
            Overloaded: The queue is full, or leaves too little time for ``call.min_pairs`` pairs.
            RuntimeError: The model failed on every pair.
        """
        if len(set(keys)) == len(keys):
            return await self._score_distinct(_DistinctPairs(context, items, keys, call))
        first = np.array(sorted({key: index for index, key in reversed(list(enumerate(keys)))}.values()))
        distinct = [keys[index] for index in first.tolist()]
        result = await self._score_distinct(_DistinctPairs(context, items.take(first), distinct, call))
        logit_of = dict(zip(distinct, result.scores.logits.tolist(), strict=True))
        logits = np.array([logit_of[key] for key in keys], dtype=np.float32)
        return replace(result, scores=replace(result.scores, logits=logits))

    def check_room(self, call: CallContext, promised_pairs: int) -> None:
        """Raise Overloaded if there is no time for ``call.min_pairs`` pairs that cost as much as recent ones.

        Takes microseconds, so that calls can be refused before their candidates are parsed.

        Args:
            call: By when the pairs must be read, and for whom.
            promised_pairs: How many pairs will be read before these, though they do not wait yet.
        """
        if not call.min_pairs:
            return
        margin = _MARGIN if promised_pairs or self._batcher.queued_pairs else 1.0
        pairs = (margin * call.min_pairs + promised_pairs) * self._fresh_share
        wait_s = self._batcher.wait_s(pairs, call)
        if wait_s > 0:
            raise Overloaded(_NO_TIME.format(min_pairs=call.min_pairs), retry_after_s=wait_s)

    async def _score_distinct(self, pairs: _DistinctPairs) -> PairResult:
        logits = self._cache.find(pairs.context_key, pairs.keys)
        unknown = np.flatnonzero(np.isnan(logits))
        others = self._readings_of_others(pairs, unknown)
        shared = np.array(list(others), dtype=np.int64)
        own = np.setdiff1d(unknown, shared, assume_unique=True) if others else unknown
        self._fresh_share += _FRESH_WEIGHT * (len(own) / max(len(pairs), 1) - self._fresh_share)
        min_own = min(pairs.call.min_pairs, len(pairs)) - (len(pairs) - len(own))
        scores = await self._read(pairs.take(own), min_own)
        logits[own] = scores.logits
        tried, more = len(own), PairScores.unread(0)
        if others:
            await wait_until_done(others.values())
            logits[shared] = self._cache.find(pairs.context_key, pairs.take(shared).keys)
            # If the other call was cancelled or failed, this one reads the pairs itself.
            again = shared[np.isnan(logits[shared])]
            more = await self._read(pairs.take(again), 0)
            logits[again] = more.logits
            tried += len(again)
        read = tried - scores.failed - more.failed
        total = _total(logits, scores, more)
        return PairResult(total, read=read, reused=len(logits) - total.failed - read, skipped=total.failed)

    def _readings_of_others(self, pairs: _DistinctPairs, unknown: Int64Array) -> dict[int, PairReading]:
        """Return other calls' readings that will end early enough, by the pair's index."""
        if not len(self._in_flight):
            return {}
        found = (
            (index, self._in_flight.find(pairs.context_key, pairs.keys[index], pairs.call))
            for index in unknown.tolist()
        )
        return {index: reading for index, reading in found if reading}

    async def _read(self, pairs: _DistinctPairs, min_pairs: int) -> PairScores:
        """Read as many pairs as there is time for, from the first on; the logits of the others are NaN."""
        logits = np.full(len(pairs), np.nan, dtype=np.float32)
        pairs = pairs.take(np.arange(self._affordable(pairs, min_pairs)))
        with self._in_flight.reading(pairs.context_key, pairs.keys if self._cache.size else (), pairs.call):
            joined = self._template.join(
                TokenRows.from_rows([pairs.context]), np.zeros(len(pairs), np.int64), pairs.items
            )
            scores = await self._batcher.score(joined, pairs.call, allow_partial=True)
            self._cache.put(pairs.context_key, pairs.keys, scores.logits)
            logits[: len(pairs)] = scores.logits
        return replace(scores, logits=logits)

    def _affordable(self, pairs: _DistinctPairs, min_pairs: int) -> int:
        """Return how many pairs to read; raises Overloaded if there is no time for ``min_pairs``."""
        lengths = pairs.items.lengths + len(pairs.context) + 3
        min_read_share = 0.0 if min_pairs > 0 else self._min_read_share
        count = self._batcher.affordable(lengths, pairs.call, min_read_share)
        if count < min_pairs:
            wait_s = self._batcher.wait_s(min_pairs, pairs.call)
            raise Overloaded(_NO_TIME.format(min_pairs=min_pairs), retry_after_s=max(wait_s, _MIN_WAIT_S))
        return count


@dataclass(frozen=True, eq=False)
class _DistinctPairs:
    """Distinct items to be scored for one user context."""

    context: TokenIds
    items: TokenRows
    keys: Sequence[ItemKey]
    call: CallContext

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def context_key(self) -> bytes:
        return self.context.tobytes()

    def take(self, indices: Int64Array) -> _DistinctPairs:
        """Return some of the items, in the given ascending order."""
        if len(indices) == len(self.keys):
            return self
        return replace(self, items=self.items.take(indices), keys=[self.keys[index] for index in indices.tolist()])


def _total(logits: Float32Array, one: PairScores, other: PairScores) -> PairScores:
    return PairScores(
        logits,
        max(one.queue_wait_ms, other.queue_wait_ms),
        one.infer_ms + other.infer_ms,
        one.padded_tokens + other.padded_tokens,
        one.delivered + other.delivered,
        one.read_at if math.isnan(other.read_at) else other.read_at,
    )

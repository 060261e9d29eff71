"""A ranking service of its own process, and callers that load it over gRPC."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import numpy as np
from shortlist.ranking.v1 import ranking_pb2, ranking_pb2_grpc

from common.gc_freeze import freeze_heap
from common.server.channel import open_channel

_PATIENCE_S: Final = 60.0


@dataclass
class Answers:
    """What callers got in one run.

    Attributes:
        seconds: How long the run took.
        latencies_ms: Of the calls answered.
        pairs: How many pairs the cross-encoder read for them.
        tokens: Those pairs' tokens, padding included.
        refused_ms: How long it took to be refused.
        unread_ms: How long it took to be answered without a pair read.
        late_ms: By how much answers came after their deadlines; below 0 where they were in time.
        expired: Calls that had no answer of any kind by their deadline.
    """

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    pairs: int = 0
    tokens: int = 0
    refused_ms: list[float] = field(default_factory=list)
    unread_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    expired: int = 0

    @property
    def pairs_per_s(self) -> float:
        """Pairs read for calls that were answered, a second."""
        return self.pairs / self.seconds

    def latency_ms(self, quantile: float) -> float:
        """Return a quantile of the answered calls' latency."""
        return float(np.quantile(self.latencies_ms, quantile)) if self.latencies_ms else float("nan")


def request(query: str, item_ids: Sequence[str], depth: int | None = None, least: int = 0) -> ranking_pb2.RankRequest:
    """Return a call that wants items ranked for a query, all of them read unless ``depth`` says otherwise.

    Args:
        query: The query.
        item_ids: The items.
        depth: How many of them the cross-encoder reads at most.
        least: How many it must read.
    """
    return ranking_pb2.RankRequest(
        user=ranking_pb2.UserContext(query=query),
        candidates=[ranking_pb2.RankCandidate(item_id=item_id) for item_id in item_ids],
        cross_encoder_depth=len(item_ids) if depth is None else depth,
        min_cross_encoder_depth=least,
    )


async def closed_loop(
    target: str, requests: Sequence[ranking_pb2.RankRequest], callers: int, seconds: float
) -> Answers:
    """Have so many callers call one after the other for so long; each call begun is awaited and counted."""
    freeze_heap()  # else collecting what the benchmark itself holds, 50 ms at a time, would count as latency
    answers = Answers()
    ends = time.perf_counter() + seconds
    following = iter(range(sys.maxsize))

    async def caller(stub: Any) -> None:
        while time.perf_counter() < ends:
            await _call(stub, requests[next(following) % len(requests)], _PATIENCE_S, answers)

    await _timed(target, answers, lambda stub: _together([caller(stub) for _ in range(callers)]))
    return answers


async def open_loop(
    target: str, requests: Sequence[ranking_pb2.RankRequest], per_s: float, seconds: float, deadline_s: float, seed: int
) -> Answers:
    """Call at random times (Poisson), so many a second whether or not answers come, each with a deadline."""
    freeze_heap()
    answers, generator = Answers(), np.random.default_rng(seed)

    async def arrive(stub: Any) -> None:
        began, due, calls = time.perf_counter(), 0.0, []
        for number in range(int(per_s * seconds)):
            due += generator.exponential(1.0 / per_s)
            await asyncio.sleep(max(began + due - time.perf_counter(), 0.0))
            calls.append(asyncio.create_task(_call(stub, requests[number % len(requests)], deadline_s, answers)))
        await asyncio.gather(*calls)

    await _timed(target, answers, arrive)
    return answers


async def _call(stub: Any, message: ranking_pb2.RankRequest, deadline_s: float, answers: Answers) -> None:
    began = time.perf_counter()
    try:
        answer = await stub.Rank(message, timeout=deadline_s)
    except grpc.aio.AioRpcError as error:
        if error.code() not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED):
            raise
        took_s = time.perf_counter() - began
        if took_s >= deadline_s:  # nobody answered: the channel gave up
            answers.expired += 1
        else:
            answers.refused_ms.append(took_s * 1e3)
        return
    took_s = time.perf_counter() - began
    if message.cross_encoder_depth and not answer.timings.pairs:
        answers.unread_ms.append(took_s * 1e3)
        return
    answers.latencies_ms.append(took_s * 1e3)
    answers.late_ms.append((took_s - deadline_s) * 1e3)
    answers.pairs += answer.timings.pairs
    answers.tokens += answer.timings.padded_tokens


async def _timed(target: str, answers: Answers, body: Callable[[Any], Awaitable[None]]) -> None:
    async with open_channel(target) as channel:
        await channel.channel_ready()
        began = time.perf_counter()
        await body(ranking_pb2_grpc.RankingServiceStub(channel))
        answers.seconds = time.perf_counter() - began


async def _together(callers: Sequence[Awaitable[None]]) -> None:
    await asyncio.gather(*callers)

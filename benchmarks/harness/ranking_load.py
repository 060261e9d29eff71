"""Callers that load a ranking service over gRPC."""

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

_TIMEOUT_S: Final = 60.0


@dataclass
class LoadResult:
    """The result of one run.

    Attributes:
        seconds: How long the run took.
        latencies_ms: Latencies of the answered calls.
        pairs: Pairs that the cross-encoder scored for them.
        tokens: Tokens of those pairs, padding included.
        refused_ms: Latencies of the refused calls.
        unread_ms: Latencies of the calls answered without a scored pair.
        late_ms: Lateness of the result; negative if before the deadline.
        expired: Calls without an answer by their deadline.
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
        """Scored pairs of answered calls per second."""
        return self.pairs / self.seconds

    def latency_ms(self, quantile: float) -> float:
        """Return a quantile of the latency of answered calls."""
        return float(np.quantile(self.latencies_ms, quantile)) if self.latencies_ms else float("nan")


def rank_request(
    query: str, item_ids: Sequence[str], depth: int | None = None, min_depth: int = 0
) -> ranking_pb2.RankRequest:
    """Return a request to rank items for a query.

    Args:
        query: The query.
        item_ids: The items.
        depth: How many of them the cross-encoder scores at most; default all.
        min_depth: How many it must score.
    """
    return ranking_pb2.RankRequest(
        user=ranking_pb2.UserContext(query=query),
        candidates=[ranking_pb2.RankCandidate(item_id=item_id) for item_id in item_ids],
        cross_encoder_depth=len(item_ids) if depth is None else depth,
        min_cross_encoder_depth=min_depth,
    )


async def closed_loop(
    target: str, requests: Sequence[ranking_pb2.RankRequest], callers: int, seconds: float
) -> LoadResult:
    """Have each of ``callers`` call again and again for ``seconds``; calls begun by then are awaited and counted."""
    freeze_heap()  # else garbage collection of the benchmark itself, 50 ms at a time, would count as latency
    result = LoadResult()
    ends = time.perf_counter() + seconds
    numbers = iter(range(sys.maxsize))

    async def caller(stub: Any) -> None:
        while time.perf_counter() < ends:
            await _call(stub, requests[next(numbers) % len(requests)], _TIMEOUT_S, result)

    await _timed(target, result, lambda stub: _together([caller(stub) for _ in range(callers)]))
    return result


async def open_loop(
    target: str, requests: Sequence[ranking_pb2.RankRequest], per_s: float, seconds: float, deadline_s: float, seed: int
) -> LoadResult:
    """Call at random times (Poisson), on average ``per_s`` times a second, each call with a deadline."""
    freeze_heap()
    result, generator = LoadResult(), np.random.default_rng(seed)

    async def arrive(stub: Any) -> None:
        began, due, calls = time.perf_counter(), 0.0, []
        for number in range(int(per_s * seconds)):
            due += generator.exponential(1.0 / per_s)
            await asyncio.sleep(max(began + due - time.perf_counter(), 0.0))
            calls.append(asyncio.create_task(_call(stub, requests[number % len(requests)], deadline_s, result)))
        await asyncio.gather(*calls)

    await _timed(target, result, arrive)
    return result


async def _call(stub: Any, message: ranking_pb2.RankRequest, deadline_s: float, result: LoadResult) -> None:
    began = time.perf_counter()
    try:
        answer = await stub.Rank(message, timeout=deadline_s)
    except grpc.aio.AioRpcError as error:
        if error.code() not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED):
            raise
        took_s = time.perf_counter() - began
        if took_s >= deadline_s:  # no answer: the channel gave up
            result.expired += 1
        else:
            result.refused_ms.append(took_s * 1e3)
        return
    took_s = time.perf_counter() - began
    if message.cross_encoder_depth and not answer.timings.pairs:
        result.unread_ms.append(took_s * 1e3)
        return
    result.latencies_ms.append(took_s * 1e3)
    result.late_ms.append((took_s - deadline_s) * 1e3)
    result.pairs += answer.timings.pairs
    result.tokens += answer.timings.padded_tokens


async def _timed(target: str, result: LoadResult, body: Callable[[Any], Awaitable[None]]) -> None:
    async with open_channel(target) as channel:
        await channel.channel_ready()
        began = time.perf_counter()
        await body(ranking_pb2_grpc.RankingServiceStub(channel))
        result.seconds = time.perf_counter() - began


async def _together(callers: Sequence[Awaitable[None]]) -> None:
    await asyncio.gather(*callers)

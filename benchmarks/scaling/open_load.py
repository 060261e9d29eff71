"""Calls that begin at their time, however long earlier ones take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import grpc
import numpy as np
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from common.server.channel import open_channel


@dataclass(frozen=True)
class TimedCall:
    """One call.

    Attributes:
        due_s: When it was due, in seconds of the monotonic clock.
        ms: From then to its answer.
        code: Its status.
        degraded: Whether its answer has a degradation.
    """

    due_s: float
    ms: float
    code: str
    degraded: bool


@dataclass
class OpenLoad:
    """A load of a given number of calls a second.

    Attributes:
        target: The server.
        calls_per_s: The rate.
        requests: The requests, which are sent in turn.
        deadline_s: The deadline of each call.
        calls: The calls that ended.
    """

    target: str
    calls_per_s: float
    requests: Sequence[gateway_pb2.RecommendRequest]
    deadline_s: float = 10.0
    calls: list[TimedCall] = field(default_factory=list)

    async def run(self) -> None:
        """Call until cancelled, then wait for the calls in progress."""
        async with open_channel(self.target) as channel:
            stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
            pending: set[asyncio.Task[None]] = set()
            due_s = time.monotonic()
            try:
                for request in cycle(self.requests):
                    await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                    task = asyncio.create_task(self._call(stub, request, due_s))
                    pending.add(task)
                    task.add_done_callback(pending.discard)
                    due_s += 1 / self.calls_per_s
            finally:
                await asyncio.gather(*pending)

    def between(self, begin_s: float, end_s: float = float("inf")) -> list[TimedCall]:
        """Return the calls that were due in a period of the monotonic clock."""
        return [call for call in self.calls if begin_s <= call.due_s < end_s]

    async def _call(self, stub: Any, request: gateway_pb2.RecommendRequest, due_s: float) -> None:
        code, degraded = "OK", False
        try:
            degraded = bool((await stub.Recommend(request, timeout=self.deadline_s)).degradations)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        self.calls.append(TimedCall(due_s, (time.monotonic() - due_s) * 1e3, code, degraded))


def percentile_ms(calls: Sequence[TimedCall], percentile: float) -> float:
    """Return a percentile of the calls' latencies; NaN without calls."""
    return float(np.percentile([call.ms for call in calls], percentile)) if calls else float("nan")

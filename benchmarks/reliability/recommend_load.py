"""Callers of a gateway, each call with a deadline, and a record of what they got."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import numpy as np
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from common.server.channel import open_channel

_KIND_PREFIX: Final = "DEGRADATION_KIND_"


@dataclass(frozen=True)
class CallRecord:
    """One call.

    Attributes:
        began_s: When it began, in seconds of the monotonic clock.
        ms: How long it took.
        code: Its status.
        degradations: The degradations of its answer, by kind.
        deadline_ms: Its deadline.
        wrong_items: Recommended items that the request did not allow.
    """

    began_s: float
    ms: float
    code: str
    degradations: tuple[str, ...] = ()
    deadline_ms: float = 0.0
    wrong_items: int = 0

    @property
    def answered(self) -> bool:
        """Whether there was an answer, degraded or not."""
        return self.code == "OK"

    @property
    def full(self) -> bool:
        """Whether the answer has no degradation."""
        return self.answered and not self.degradations


@dataclass
class RecommendLoad:
    """Callers that call again and again, at a steady pace each.

    Attributes:
        target: The gateway's address.
        callers: How many callers there are.
        interval_s: Seconds between the beginnings of one caller's calls; 0 for the next call at once.
        deadline_s: The deadline of each call.
        new_request: Makes the request of a call from a source of random numbers.
        seed: The seed of that source.
        count_wrong: Counts the items of an answer that its request did not allow.
        calls: The calls that ended.
    """

    target: str
    callers: int
    interval_s: float
    deadline_s: float
    new_request: Callable[[random.Random], gateway_pb2.RecommendRequest]
    seed: str = "0"
    count_wrong: Callable[[gateway_pb2.RecommendRequest, gateway_pb2.RecommendResponse], int] = lambda *_: 0
    calls: list[CallRecord] = field(default_factory=list)

    async def run(self) -> None:
        """Call until cancelled."""
        async with open_channel(self.target) as channel:
            stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
            async with asyncio.TaskGroup() as group:
                for number in range(self.callers):
                    group.create_task(self._call_again_and_again(stub, number))

    def between(self, begin_s: float, end_s: float = float("inf")) -> list[CallRecord]:
        """Return the calls that began in a period of the monotonic clock."""
        return [call for call in self.calls if begin_s <= call.began_s < end_s]

    async def _call_again_and_again(self, stub: Any, number: int) -> None:
        chosen = random.Random(f"{self.seed}-{number}")
        due_s = time.monotonic() + number / self.callers * self.interval_s
        while True:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await self._call(stub, self.new_request(chosen))
            due_s = max(due_s + self.interval_s, time.monotonic())

    async def _call(self, stub: Any, request: gateway_pb2.RecommendRequest) -> None:
        began_s = time.monotonic()
        code = "OK"
        kinds: tuple[str, ...] = ()
        wrong_items = 0
        try:
            answer = await stub.Recommend(request, timeout=self.deadline_s)
            kinds = tuple(_kind(each) for each in answer.degradations)
            wrong_items = self.count_wrong(request, answer)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        ms = (time.monotonic() - began_s) * 1e3
        self.calls.append(CallRecord(began_s, ms, code, kinds, self.deadline_s * 1e3, wrong_items))


def quantile_ms(calls: Sequence[CallRecord], quantile: float) -> float:
    """Return a quantile of the calls' durations; NaN without calls."""
    return float(np.quantile([call.ms for call in calls], quantile)) if calls else float("nan")


def _kind(degradation: gateway_pb2.Degradation) -> str:
    return gateway_pb2.DegradationKind.Name(degradation.kind).removeprefix(_KIND_PREFIX)

"""Callers of a gateway and what they record."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from benchmarks.reliability.recommend_load import CallRecord, RecommendLoad, quantile_ms


class _Gateway(gateway_pb2_grpc.RecommendationServiceServicer):
    """Answers in turn in full, degraded, and not at all."""

    def __init__(self) -> None:
        self.calls = 0

    async def Recommend(self, request: Any, context: Any) -> gateway_pb2.RecommendResponse:  # noqa: N802
        self.calls += 1
        if self.calls % 3 == 0:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        degraded = [gateway_pb2.Degradation(kind=gateway_pb2.DEGRADATION_KIND_RANKING_TOO_SLOW)] * (self.calls % 3 - 1)
        return gateway_pb2.RecommendResponse(
            items=[gateway_pb2.RecommendedItem(item_id=request.user_id)], degradations=degraded
        )


@pytest.fixture
async def target() -> AsyncIterator[str]:
    server = grpc.aio.server()
    gateway_pb2_grpc.add_RecommendationServiceServicer_to_server(_Gateway(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


def _request(chosen: random.Random) -> gateway_pb2.RecommendRequest:
    return gateway_pb2.RecommendRequest(user_id=str(chosen.random()))


async def test_every_call_is_recorded_as_it_ended(target: str):
    """Full answers, degraded answers and refusals are distinguished, and wrong items are counted."""
    load = RecommendLoad(target, 1, 0.0, 10.0, _request, count_wrong=lambda _, answer: len(answer.items))
    task = asyncio.create_task(load.run())
    while len(load.calls) < 6:  # noqa: ASYNC110 - a record is no event
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    first = load.calls[:6]
    assert [call.full for call in first] == [True, False, False] * 2
    assert [call.answered for call in first] == [True, True, False] * 2
    assert [call.degradations for call in first[:2]] == [(), ("RANKING_TOO_SLOW",)]
    assert [call.code for call in first[2:3]] == ["RESOURCE_EXHAUSTED"]
    assert [call.wrong_items for call in first[:3]] == [1, 1, 0]
    assert load.between(first[3].began_s)[0] == first[3]


def test_quantiles_are_those_of_the_durations():
    """The median of an odd number of calls is the middle one."""
    assert quantile_ms([CallRecord(0, ms, "OK") for ms in (3.0, 1.0, 2.0)], 0.5) == 2.0

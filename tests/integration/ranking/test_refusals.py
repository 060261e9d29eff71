"""Calls that the ranking service refuses, over the wire."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from shortlist.ranking.v1 import ranking_pb2

TIMEOUT_S = 20.0


def candidate(item_id: Any, **fields: Any) -> Any:
    """Return a candidate by its id."""
    return ranking_pb2.RankCandidate(item_id=item_id, **fields)


def user_context(history: Any = (), query: str = "") -> Any:
    """Return a user."""
    return ranking_pb2.UserContext(query=query, history_item_ids=history)


def assert_refused(raised: Any, code: Any, message: str) -> None:
    """Check status and message of a call."""
    assert raised.value.code() is code
    assert message in raised.value.details()


async def test_unknown_candidates_are_named(service: Any, ids: list[str]):
    """The call fails and names the first items that the release does not have."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.rank([ids[0], *(f"gone-{number}" for number in range(8))])
    assert_refused(raised, grpc.StatusCode.NOT_FOUND, "'gone-0', 'gone-1', 'gone-2', 'gone-3', 'gone-4' and 3 more")


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (lambda _: {"candidates": []}, "candidates: 1 to 2,000, has 0"),
        (lambda ids: {"candidates": [ids[0]] * 2_001}, "candidates: 1 to 2,000, has 2,001"),
        (
            lambda ids: {"candidates": [ids[0], ranking_pb2.RankCandidate()]},
            "candidates[1]: needs an item_id or a text",
        ),
        (lambda _: {"candidates": [ranking_pb2.RankCandidate(text=" \n")]}, "candidates[0].text: must not be blank"),
        (
            lambda _: {"candidates": [ranking_pb2.RankCandidate(text="x" * 20_001)]},
            "candidates[0].text: at most 20,000",
        ),
        (lambda ids: {"candidates": ids[:1], "user": user_context(query="x" * 1_001)}, "user.query: at most 1,000"),
        (
            lambda ids: {"candidates": ids[:1], "user": user_context(ids[:1] * 10_001)},
            "user.history_item_ids: at most 10,000",
        ),
        (lambda ids: {"candidates": ids[:1], "priority": 9}, "priority: 9"),
        (lambda ids: {"candidates": ids[:3], "min_cross_encoder_depth": 4}, "min_cross_encoder_depth: at most 3"),
    ],
)
async def test_limits_are_held(service: Any, ids: list[str], request_of: Any, message: str):
    """What the contract forbids is INVALID_ARGUMENT with the field's name, and the server serves on."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.rank(**request_of(ids))
    assert_refused(raised, grpc.StatusCode.INVALID_ARGUMENT, message)
    assert len((await service.rank(ids[:1])).items) == 1


async def test_a_call_without_time_is_refused(service: Any, ids: list[str]):
    """A deadline that can't be met is DEADLINE_EXCEEDED, whether the server or the clock says so."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.rank(ids, wait_s=0.001)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_full_queue_says_when_to_come_back(service: Any, ids: list[str], monkeypatch: pytest.MonkeyPatch):
    """RESOURCE_EXHAUSTED comes with RetryInfo, and calls in the queue are answered nonetheless."""
    batcher, gate, began = service.stage()._batcher, threading.Event(), threading.Semaphore(0)
    model = batcher._model

    def gated(*inputs: Any) -> Any:
        began.release()
        assert gate.wait(TIMEOUT_S)
        return model(*inputs)

    monkeypatch.setattr(batcher, "_model", gated)
    object.__setattr__(batcher._queue.limits, "max_queued_pairs", 100)
    waiting = asyncio.create_task(service.rank(ids[:100]))
    assert await asyncio.to_thread(began.acquire, timeout=TIMEOUT_S)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.rank(ids[100:201], cross_encoder_depth=200)
    assert_refused(raised, grpc.StatusCode.RESOURCE_EXHAUSTED, "try again later")
    retry = error_details_pb2.RetryInfo()
    assert rpc_status.from_call(raised.value).details[0].Unpack(retry)
    assert retry.retry_delay.ToNanoseconds() > 0
    gate.set()
    assert len((await waiting).items) == 100


async def test_explaining_nothing_is_refused(service: Any):
    """A candidate is required."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.ranking.Explain(ranking_pb2.ExplainRequest(), timeout=TIMEOUT_S)
    assert_refused(raised, grpc.StatusCode.INVALID_ARGUMENT, "candidate: required")

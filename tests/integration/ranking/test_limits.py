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

from services.ranking.cascade import explainer
from services.ranking.server import service as service_module

TIMEOUT_S = 20.0


def _candidate(item_id: Any, **fields: Any) -> Any:
    return ranking_pb2.RankCandidate(item_id=item_id, **fields)


def _user(history: list[int] = (), query: str = "") -> Any:
    return ranking_pb2.UserContext(query=query, history_item_ids=history)


async def test_unknown_candidates_are_named(service: Any, ids: list[str]):
    """The error names the first items that the release does not have."""
    await service.refused(
        service.rank([ids[0], *(f"gone-{number}" for number in range(8))]),
        grpc.StatusCode.NOT_FOUND,
        "'gone-0', 'gone-1', 'gone-2', 'gone-3', 'gone-4' and 3 more",
    )


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
        (lambda ids: {"candidates": ids[:1], "user": _user(query="x" * 1_001)}, "user.query: at most 1,000"),
        (
            lambda ids: {"candidates": ids[:1], "user": _user(ids[:1] * 10_001)},
            "user.history_item_ids: at most 10,000",
        ),
        (lambda ids: {"candidates": ids[:1], "priority": 9}, "priority: 9"),
        (lambda ids: {"candidates": ids[:3], "min_cross_encoder_depth": 4}, "min_cross_encoder_depth: at most 3"),
    ],
)
async def test_limits_are_held(service: Any, ids: list[str], request_of: Any, message: str):
    """A violated limit is INVALID_ARGUMENT with the field's name, and the next call is answered."""
    await service.refused(service.rank(**request_of(ids)), grpc.StatusCode.INVALID_ARGUMENT, message)
    assert len((await service.rank(ids[:1])).items) == 1


async def test_the_largest_request_is_answered(service: Any, ids: list[str]):
    """2,000 candidates with repeats and 10,000 history items are within the limits."""
    response = await service.rank((ids * 10)[:2_000], user=_user((ids * 50)[:10_000], "milk"), priority=2)
    assert len(response.items) == 2_000


async def test_a_call_without_time_is_refused(service: Any, ids: list[str]):
    """A deadline that cannot be met is DEADLINE_EXCEEDED."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.rank(ids, wait_s=0.001)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_call_is_refused_before_its_candidates_are_parsed(service: Any):
    """A call without time for its features is DEADLINE_EXCEEDED, whatever its candidates."""
    service.stage().times.features.observe(100, 1_000.0)
    await service.refused(
        service.rank(["unknown"]), grpc.StatusCode.DEADLINE_EXCEEDED, "1 candidates cannot be ranked within"
    )


async def test_each_answer_is_observed(service: Any, ids: list[str]):
    """The time kept back after reading falls with each answer, also of calls that had no time to read."""
    service.stage().times.after_reading.seconds = 1_000.0
    await service.rank(ids[:3])
    assert service.stage().times.after_reading.seconds < 1_000.0


async def test_a_full_queue_is_refused_with_retry_info(service: Any, ids: list[str], monkeypatch: pytest.MonkeyPatch):
    """RESOURCE_EXHAUSTED has RetryInfo, and calls in the queue are answered."""
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
    error = await service.refused(
        service.rank(ids[100:201], cross_encoder_depth=200), grpc.StatusCode.RESOURCE_EXHAUSTED, "try again later"
    )
    retry = error_details_pb2.RetryInfo()
    assert rpc_status.from_call(error).details[0].Unpack(retry)
    assert retry.retry_delay.ToNanoseconds() > 0
    gate.set()
    assert len((await waiting).items) == 100


@pytest.mark.parametrize(
    ("module", "step", "is_method"),
    [(service_module, "parse_explained", False), (explainer, "OccludedPairs", True)],
)
async def test_a_large_explanation_holds_up_no_other_call(
    service: Any, ids: list[str], monkeypatch: pytest.MonkeyPatch, module: Any, step: str, is_method: bool
):
    """While the texts of an explanation are read and cut into words, another call is answered."""
    begun, answered = threading.Event(), threading.Event()
    held = module.OccludedPairs.of if is_method else getattr(module, step)

    def hold(*arguments: Any) -> Any:
        begun.set()
        assert answered.wait(TIMEOUT_S), "no other call was answered meanwhile"
        return held(*arguments)

    monkeypatch.setattr(*((module.OccludedPairs, "of") if is_method else (module, step)), hold)
    others = [_candidate(item_id, text="soap " * 4_000) for item_id in ids[1:20]]
    request = ranking_pb2.ExplainRequest(candidate=_candidate(ids[0], text="bread " * 3_000), other_candidates=others)
    explaining = service.ranking.Explain(request, timeout=2 * TIMEOUT_S)
    await asyncio.to_thread(begun.wait, TIMEOUT_S)
    assert (await service.rank(ids[:1])).items
    answered.set()
    assert (await explaining).item_words

"""A release reaches a fleet through its store, in stages, and no answer suffers."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shortlist.release.v1 import release_pb2
from shortlist.release.v1.release_pb2_grpc import ReleaseServiceStub

from common.release.pointer import set_paused


def _ids(answers: list[release_pb2.GetReleaseResponse]) -> list[str]:
    return [answer.release.release_id for answer in answers]


async def test_a_release_reaches_every_replica_and_back(fleet: Any):
    """Every answer meanwhile is whole and of one release: ranking has each release before retrieval names it."""
    await fleet.start(str(fleet.store))
    for release_id in (fleet.second, fleet.first):
        fleet.point_to(release_id)
        await fleet.until(lambda answers, wanted=release_id: _ids(answers) == [wanted] * 4)
        assert (await fleet.recommend()).release_id == release_id
    whole = [answer for answer in fleet.answers if not answer.degradations and len(answer.items) == 5]
    assert len(whole) == len(fleet.answers)
    assert {answer.release_id for answer in whole} == {fleet.first, fleet.second}
    stub: Any = ReleaseServiceStub(fleet.ranking[0].channel)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(fleet.store)), timeout=20)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "follows" in str(refused.value.details())


async def test_a_release_that_cannot_be_loaded_reaches_nobody(fleet: Any):
    """Ranking refuses it and says so; retrieval waits; the next good one is taken. A pause stops everything."""
    await fleet.start(str(fleet.store))
    model = fleet.store / fleet.second / "ranker" / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(b"damaged")
    fleet.point_to(fleet.second)
    await fleet.until(lambda answers: [one.refused_release_id for one in answers[:2]] == [fleet.second] * 2)
    answers = [await fleet.released(process) for process in (*fleet.ranking, *fleet.retrieval)]
    assert _ids(answers) == [fleet.first] * 4
    assert "model.onnx" in answers[0].refusal
    health: Any = health_pb2_grpc.HealthStub(fleet.ranking[0].channel)
    whole = await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
    detail = await health.Check(health_pb2.HealthCheckRequest(service="release"), timeout=20)
    assert (whole.status, detail.status) == (health_pb2.HealthCheckResponse.SERVING, 2)
    model.write_bytes(content)
    set_paused(fleet.store, paused=True)
    fleet.point_to(fleet.second)
    await asyncio.gather(*(fleet.recommend() for _ in range(20)))
    assert _ids([await fleet.released(process) for process in fleet.ranking]) == [fleet.first] * 2
    set_paused(fleet.store, paused=False)
    await fleet.until(lambda answers: _ids(answers) == [fleet.second] * 4)
    assert not any(answer.degradations for answer in fleet.answers)


async def test_a_canary_takes_it_first(fleet: Any):
    """By the hash of their names one replica of each service is a canary; the others stay within the pause."""
    await fleet.start(str(fleet.store), **{"release-canary-share": 0.4, "release-canary-pause-s": 3_600})
    fleet.point_to(fleet.second)
    await fleet.until(lambda answers: fleet.second in _ids(answers[:2]))
    ranking = [await fleet.released(process) for process in fleet.ranking]
    assert sorted(_ids(ranking)) == sorted([fleet.first, fleet.second])
    assert _ids([await fleet.released(process) for process in fleet.retrieval]) == [fleet.first] * 2
    assert not any(answer.degradations for answer in fleet.answers)

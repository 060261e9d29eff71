"""What callers of the gateway get while the services behind it are killed and come back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from shortlist.retrieval.v1 import retrieval_pb2

from common.server.server import running
from common.server.telemetry import Metrics
from services.gateway.server.server import GatewayServer
from services.gateway.settings import Settings

_BRAND_1 = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="brand", values=["brand-1"]))
_LANGUAGE = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="language", values=["en"]))


class _Backend:
    """A stand-in for a service in a process of its own, which keeps its port over its deaths."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._port = "0"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        command = (sys.executable, "-m", "testing.gateway_backends", self._service, self._port)
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program
        assert self._process.stdout is not None
        self._port = self._process.stdout.readline().strip()

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def ranking() -> Iterator[_Backend]:
    """Return a ranking process."""
    backend = _Backend("ranking")
    yield backend
    backend.kill()


@pytest.fixture
def retrieval() -> Iterator[_Backend]:
    """Return a retrieval process."""
    backend = _Backend("retrieval")
    yield backend
    backend.kill()


Recommend = Callable[..., Awaitable[gateway_pb2.RecommendResponse]]


@pytest.fixture
async def recommend(retrieval: _Backend, ranking: _Backend, tmp_path: Path) -> AsyncIterator[Recommend]:
    """Return a caller of a gateway before both processes."""
    settings = Settings(
        port=0,
        metrics_port=0,
        retrieval_target=retrieval.target,
        ranking_target=ranking.target,
        profiles=tmp_path / "profiles.db",
    )
    metrics = Metrics("gateway")
    async with (
        running(GatewayServer(settings, metrics), settings, metrics) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)

        async def call(**fields: Any) -> gateway_pb2.RecommendResponse:
            response: gateway_pb2.RecommendResponse = await stub.Recommend(
                gateway_pb2.RecommendRequest(**fields), timeout=10
            )
            return response

        yield call


def _kinds(response: gateway_pb2.RecommendResponse) -> set[str]:
    prefix = "DEGRADATION_KIND_"
    return {gateway_pb2.DegradationKind.Name(it.kind).removeprefix(prefix) for it in response.degradations}


def _ids(response: gateway_pb2.RecommendResponse) -> list[str]:
    return [item.item_id for item in response.items]


async def _until(call: Recommend, kinds: set[str]) -> gateway_pb2.RecommendResponse:
    """Call until an answer has exactly these degradations; the test's timeout bounds it."""
    while True:
        response = await call()
        if _kinds(response) == kinds:
            return response


async def test_every_call_answers_while_ranking_is_killed(recommend: Recommend, ranking: _Backend):
    """With calls in flight all the time, ranking dies and returns: each answers in full or names the degradation."""
    answers: list[gateway_pb2.RecommendResponse] = []
    over = asyncio.Event()

    async def caller() -> None:
        while not over.is_set():
            answers.append(await recommend())

    callers = [asyncio.create_task(caller()) for _ in range(4)]
    await _until(recommend, set())
    await asyncio.to_thread(ranking.kill)
    degraded = await _until(recommend, {"RANKING_UNAVAILABLE"})
    await asyncio.to_thread(ranking.start)
    restored = await _until(recommend, set())
    over.set()
    await asyncio.gather(*callers)

    assert _ids(degraded) == [f"item-{at}" for at in range(10)]
    assert _ids(restored) == [f"item-{at}" for at in range(39, 29, -1)]
    assert all(len(answer.items) == 10 for answer in answers)
    for answer in answers:
        assert _kinds(answer) <= {"RANKING_UNAVAILABLE", "RANKING_TOO_SLOW"}
        assert all(item.HasField("probability") is not bool(_kinds(answer)) for item in answer.items)


async def test_popular_items_stand_in_while_retrieval_is_killed(recommend: Recommend, retrieval: _Backend):
    """Killed retrieval leaves popular items that pass the filter, named so; after its return answers are full again."""
    await _until(recommend, set())
    await asyncio.to_thread(retrieval.kill)
    response = await recommend(filter=_BRAND_1)
    assert _kinds(response) == {"RETRIEVAL_UNAVAILABLE"}
    assert len(response.items) == 10
    assert {item.brand for item in response.items} == {"brand-1"}
    await asyncio.to_thread(retrieval.start)
    await _until(recommend, set())


async def test_no_item_is_returned_that_may_break_the_filter(recommend: Recommend, retrieval: _Backend):
    """A condition on what the gateway does not know of an item leaves the item out, and the answer says so."""
    await asyncio.to_thread(retrieval.kill)
    response = await recommend(filter=_LANGUAGE)
    assert not response.items
    assert "cannot tell whether they pass the filter" in response.degradations[0].detail


async def test_with_both_killed_popular_items_remain(recommend: Recommend, retrieval: _Backend, ranking: _Backend):
    """With nothing alive behind it the gateway still answers, most popular first, and names both."""
    await asyncio.to_thread(retrieval.kill)
    await asyncio.to_thread(ranking.kill)
    response = await recommend(policy=gateway_pb2.Policy(min_probability=0.5))
    assert _kinds(response) == {"RETRIEVAL_UNAVAILABLE", "RANKING_UNAVAILABLE", "POLICY_NOT_APPLIED"}
    assert _ids(response) == [f"item-{at}" for at in range(10)]
    assert response.release_id == ""

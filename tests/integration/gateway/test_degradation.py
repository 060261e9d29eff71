"""What the gateway answers while the services behind it are killed and restarted."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from shortlist.gateway.v1 import gateway_pb2
from shortlist.retrieval.v1 import retrieval_pb2

from services.gateway.settings import Settings
from testing.gateway_client import degradation_kinds, item_ids, running_gateway

_BRAND_1 = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="brand", values=["brand-1"]))
_LANGUAGE = retrieval_pb2.Filter(match=retrieval_pb2.Match(attribute="language", values=["en"]))


class _Backend:
    """A fake service in a process of its own, which keeps its port over restarts."""

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

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

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
    """Return a function that calls Recommend on a gateway over both processes."""
    settings = Settings(
        port=0,
        metrics_port=0,
        retrieval_target=retrieval.target,
        ranking_target=ranking.target,
        profiles=tmp_path / "profiles.db",
    )
    async with running_gateway(settings) as client:
        yield client.recommend


async def _detail_until(call: Recommend, words: str) -> gateway_pb2.RecommendResponse:
    """Call until a degradation's detail has these words; several at once, since each may wait for its timeout."""
    while True:
        for response in await asyncio.gather(*(call() for _ in range(8))):
            if any(words in each.detail for each in response.degradations):
                return response


async def _until(call: Recommend, kinds: set[str]) -> gateway_pb2.RecommendResponse:
    """Call until an answer has exactly these degradations; the test's timeout bounds it."""
    while True:
        response = await call()
        if set(degradation_kinds(response)) == kinds:
            return response


async def test_every_call_answers_while_ranking_is_killed(recommend: Recommend, ranking: _Backend):
    """While ranking is killed and restarted, every call answers in full or names the degradation."""
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

    assert item_ids(degraded) == [f"item-{at}" for at in range(10)]
    assert item_ids(restored) == [f"item-{at}" for at in range(39, 29, -1)]
    assert all(len(answer.items) == 10 for answer in answers)
    for answer in answers:
        assert set(degradation_kinds(answer)) <= {"RANKING_UNAVAILABLE", "RANKING_TOO_SLOW"}
        assert all(item.HasField("probability") is not bool(set(degradation_kinds(answer))) for item in answer.items)


@pytest.mark.parametrize("stage", ["ranking", "retrieval"])
async def test_a_stopped_service_is_not_waited_for(recommend: Recommend, request: pytest.FixtureRequest, stage: str):
    """After a few calls without an answer a stopped service is not called, until it goes on; every call is answered."""
    backend: _Backend = request.getfixturevalue(stage)
    await _until(recommend, set())
    backend.signal(signal.SIGSTOP)
    degraded = await _detail_until(recommend, f"{stage} is not called")
    assert len(degraded.items) == 10
    backend.signal(signal.SIGCONT)
    await _until(recommend, set())


async def test_popular_items_are_the_fallback_while_retrieval_is_killed(recommend: Recommend, retrieval: _Backend):
    """Without retrieval, popular items that pass the filter are returned; after its restart answers are full again."""
    await _until(recommend, set())
    await asyncio.to_thread(retrieval.kill)
    response = await recommend(filter=_BRAND_1)
    assert set(degradation_kinds(response)) == {"RETRIEVAL_UNAVAILABLE"}
    assert len(response.items) == 10
    assert {item.brand for item in response.items} == {"brand-1"}
    await asyncio.to_thread(retrieval.start)
    await _until(recommend, set())


async def test_no_item_is_returned_that_may_break_the_filter(recommend: Recommend, retrieval: _Backend):
    """An item for which the filter cannot be decided is left out, and the answer says so."""
    await asyncio.to_thread(retrieval.kill)
    response = await recommend(filter=_LANGUAGE)
    assert not response.items
    assert "cannot decide whether they pass the filter" in response.degradations[0].detail


async def test_with_both_killed_popular_items_remain(recommend: Recommend, retrieval: _Backend, ranking: _Backend):
    """Without both services the gateway still answers, most popular first, and names both degradations."""
    await asyncio.to_thread(retrieval.kill)
    await asyncio.to_thread(ranking.kill)
    response = await recommend(policy=gateway_pb2.Policy(min_probability=0.5))
    assert set(degradation_kinds(response)) == {"RETRIEVAL_UNAVAILABLE", "RANKING_UNAVAILABLE", "POLICY_NOT_APPLIED"}
    assert item_ids(response) == [f"item-{at}" for at in range(10)]
    assert response.release_id == ""

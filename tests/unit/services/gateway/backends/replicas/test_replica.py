"""One replica behind a TCP proxy that is stalled and cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from shortlist.ranking.v1 import ranking_pb2
from shortlist.ranking.v1.ranking_pb2_grpc import RankingServiceStub

from common.server.channel import open_channel
from services.gateway.backends.replicas.circuit_breaker import BreakerOptions, BreakerState
from services.gateway.backends.replicas.replica import Replica
from services.gateway.backends.stages import StageFailed, StageUnanswered, StageUnreachable
from testing.faults.tcp_proxy import TcpProxy

_REQUEST = ranking_pb2.RankRequest(columns=ranking_pb2.CandidateColumns(item_ids=["item-0"]))
Call = Callable[..., Awaitable[Any]]


@pytest.fixture
async def proxy(backends: Any) -> AsyncIterator[TcpProxy]:
    """Return a proxy of the ranking service."""
    async with TcpProxy(int(backends.ranking_target.rpartition(":")[2])) as between:
        yield between


@pytest.fixture
async def changes() -> asyncio.Queue[BreakerState]:
    return asyncio.Queue()


@pytest.fixture
async def ranking(proxy: TcpProxy, changes: asyncio.Queue[BreakerState]) -> AsyncIterator[Replica]:
    """Return ranking behind the proxy, with a breaker that opens after two failures."""
    async with open_channel(proxy.address) as channel:
        replica = Replica(
            "ranking",
            proxy.address,
            channel,
            RankingServiceStub,
            BreakerOptions(failures=2),
            lambda: changes.put_nowait(replica.breaker.state),
        )
        yield replica
        await replica.close()


async def _rank(ranking: Replica, timeout_s: float = 30.0) -> Any:
    attempt = ranking.breaker.admit()
    assert attempt is not None
    return await ranking.call(attempt, "Rank", _REQUEST, timeout_s)


async def _is_half_open(changes: asyncio.Queue[BreakerState]) -> bool:
    return await changes.get() is BreakerState.OPEN and await changes.get() is BreakerState.HALF_OPEN


async def test_a_stalled_replica_is_probed_until_it_goes_on(
    ranking: Replica, proxy: TcpProxy, changes: asyncio.Queue[BreakerState]
):
    """Timeouts open the breaker; once the replica goes on, a probe makes it half open, and a call closes it."""
    await _rank(ranking)
    proxy.stall()
    for _ in range(2):
        with pytest.raises(StageUnanswered):
            await _rank(ranking, 0.1)
    assert ranking.breaker.state is BreakerState.OPEN
    proxy.restore()
    assert await _is_half_open(changes)
    assert len((await _rank(ranking)).columns.probabilities) == 1
    assert await changes.get() is BreakerState.CLOSED
    assert ranking.probes >= 1


async def test_a_cut_connection_opens_the_breaker(
    ranking: Replica, proxy: TcpProxy, changes: asyncio.Queue[BreakerState]
):
    """Refused connections open it at once; it closes after the connection is back."""
    await _rank(ranking)
    proxy.cut()
    while ranking.breaker.state is BreakerState.CLOSED:
        with pytest.raises(StageFailed):
            await _rank(ranking)
    proxy.restore()
    assert await _is_half_open(changes)
    await _rank(ranking)
    assert ranking.breaker.state is BreakerState.CLOSED


async def test_an_error_of_the_replica_is_an_answer(backends: Any, ranking: Replica):
    """Statuses that the replica itself sends leave the breaker closed, those of a server that ends apart."""
    for name in ("INTERNAL", "NOT_FOUND", "RESOURCE_EXHAUSTED"):
        backends.ranking.status = getattr(grpc.StatusCode, name)
        for _ in range(3):
            with pytest.raises(StageFailed):
                await _rank(ranking)
    assert ranking.breaker.state is BreakerState.CLOSED
    for name in ("UNAVAILABLE", "CANCELLED"):
        backends.ranking.status = getattr(grpc.StatusCode, name)
        with pytest.raises(StageUnreachable):
            await _rank(ranking)
    assert ranking.breaker.state is not BreakerState.CLOSED


async def test_a_cancelled_trial_blocks_nothing(backends: Any, ranking: Replica, changes: asyncio.Queue[BreakerState]):
    """If the caller of the trial call cancels, the next call is the trial."""
    backends.ranking.status, backends.ranking.failures = grpc.StatusCode.UNAVAILABLE, 2
    for _ in range(2):
        with pytest.raises(StageUnreachable):
            await _rank(ranking)
    assert await _is_half_open(changes)
    backends.ranking.delay_s = 60.0
    backends.ranking.called.clear()
    trial = asyncio.create_task(_rank(ranking))
    await backends.ranking.called.wait()
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    backends.ranking.delay_s = 0.0
    await _rank(ranking)
    assert ranking.breaker.state is BreakerState.CLOSED

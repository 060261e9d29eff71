"""The release of a service with two replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from common.errors import BadRelease, NotReady
from common.server.channel import open_channel
from services.gateway.backends.release_client import ReleaseClient
from testing.gateway_backends import Backends, FakeReleases


class _Service:
    """Two replicas of retrieval and a client of both."""

    def __init__(self, backends: list[Backends], client: ReleaseClient) -> None:
        self.backends = backends
        self.client = client

    @property
    def replicas(self) -> list[FakeReleases]:
        return [backend.retrieval_releases for backend in self.backends]

    def served(self) -> list[str]:
        return [replica.release_id for replica in self.replicas]


@pytest.fixture
async def service() -> AsyncIterator[_Service]:
    async with AsyncExitStack() as resources:
        backends, channels = [Backends(), Backends()], []
        for backend in backends:
            await backend.start()
            resources.push_async_callback(backend.stop)
            channels.append(await resources.enter_async_context(open_channel(backend.retrieval_target)))
        yield _Service(backends, ReleaseClient("retrieval", channels, 5.0))


async def test_every_replica_changes(service: _Service):
    """An activation reaches each replica, and answers with the release."""
    assert (await service.client.activate("/releases/r2")).release.release_id == "r2"
    assert service.served() == ["r2", "r2"]


async def test_a_release_that_one_replica_refuses_is_served_by_none(service: _Service):
    """If the second replica refuses a release, the first goes back to its own."""
    service.replicas[1].bad = {"r2"}
    with pytest.raises(BadRelease, match="r2 is damaged"):
        await service.client.activate("/releases/r2")
    assert service.served() == ["r1", "r1"]


@pytest.mark.parametrize("down", [0, 1])
async def test_a_replica_that_is_down_stops_no_activation(service: _Service, down: int):
    """The others change, and their release is the service's."""
    await service.backends[down].stop()
    await service.client.activate("/releases/r2")
    assert service.served()[1 - down] == "r2"
    assert (await service.client.get_release()).release.release_id == "r2"


async def test_a_service_that_is_down_is_named(service: _Service):
    """Without any replica, the error says which service does not answer."""
    for backend in service.backends:
        await backend.stop()
    with pytest.raises(NotReady, match="retrieval"):
        await service.client.get_release()
    with pytest.raises(NotReady, match="retrieval"):
        await service.client.activate("/releases/r2")
    with pytest.raises(NotReady, match="retrieval"):
        await service.client.align_replicas()


async def test_a_restarted_replica_is_aligned_with_the_others(service: _Service):
    """A replica without a previous release gets that of the replica that was activated."""
    await service.client.activate("/releases/r2")
    restarted = service.replicas[0]
    restarted.release_id, restarted.previous = "r1", ""
    assert await service.client.align_replicas() == "1 of the replicas of retrieval restarted, and now serve r2"
    assert service.served() == ["r2", "r2"]
    assert await service.client.align_replicas() == ""


async def test_of_restarted_replicas_the_newer_release_wins(service: _Service):
    """If all replicas restarted, those with an older release change."""
    service.replicas[0].release_id = "r2"
    for replica in service.replicas:
        replica.created_s = {"r1": 1, "r2": 2}
    await service.client.align_replicas()
    assert service.served() == ["r2", "r2"]


async def test_replicas_that_were_activated_separately_keep_their_releases(service: _Service):
    """A replica that has a previous release is never changed by the alignment."""
    service.replicas[0].release_id, service.replicas[0].previous = "r2", "r1"
    service.replicas[1].release_id, service.replicas[1].previous = "r3", "r1"
    assert await service.client.align_replicas() == ""
    assert service.served() == ["r2", "r3"]

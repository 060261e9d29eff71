"""Replicas of the fake retrieval service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest
from shortlist.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceStub

from common.server.channel import open_channel
from services.gateway.backends.replicas.circuit_breaker import BreakerOptions
from services.gateway.backends.replicas.replica import Replica
from services.gateway.backends.replicas.replica_set import ReplicaSet
from testing.gateway_backends import Backends


class Cluster:
    """Two retrieval services, and the replica set that calls them."""

    def __init__(self, services: Sequence[Backends], retrieval: ReplicaSet) -> None:
        self.services = services
        self.retrieval = retrieval

    def requests(self) -> list[int]:
        """Return how many requests each service received."""
        return [len(service.retrieval.requests) for service in self.services]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as resources:
        services = [Backends(), Backends()]
        replicas = []
        for service in services:
            await service.start()
            resources.push_async_callback(service.stop)
            target = service.retrieval_target
            channel = await resources.enter_async_context(open_channel(target))
            options = BreakerOptions(failures=3)
            replicas.append(Replica("retrieval", target, channel, RetrievalServiceStub, options))
        retrieval = ReplicaSet("retrieval", replicas)
        resources.push_async_callback(retrieval.close)
        yield Cluster(services, retrieval)

"""The state of the servers: whether they serve, what they serve, and their figures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shortlist.release.v1 import release_pb2
from shortlist.release.v1.release_pb2_grpc import ReleaseServiceStub
from shortlist.retrieval.v1 import retrieval_pb2
from shortlist.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceStub

from common.server.access.channel_security import ChannelSecurity
from common.server.channel import open_channel
from services.playground.gateways.answer import fields
from services.playground.servers.metrics_page import read_page

_TIMEOUT_S: Final = 2.0
_MAX_ITEMS: Final = 1_000


class Servers:
    """Asks servers how they are.

    Args:
        targets: Their gRPC addresses by name.
        metrics: The addresses of their pages of metrics by name.
        security: How to connect to them.
    """

    def __init__(
        self, targets: Mapping[str, str], metrics: Mapping[str, str], security: ChannelSecurity | None = None
    ) -> None:
        self._metrics = dict(metrics)
        self._channels = {name: open_channel(target, security) for name, target in targets.items()}
        self._targets = dict(targets)

    async def states(self) -> list[dict[str, Any]]:
        """Return of each server its `name`, `target`, `health`, `release` and `figures`; the last two may be None."""
        names = dict.fromkeys([*self._channels, *self._metrics])
        return list(await asyncio.gather(*map(self._state, names)))

    async def titles(self, item_ids: list[str]) -> dict[str, str]:
        """Return the titles of items by id; empty if no retrieval is known or it does not answer."""
        channel = self._channels.get("retrieval")
        if channel is None or not item_ids:
            return {}
        retrieval: Any = RetrievalServiceStub(channel)  # whose types are those of blocking calls
        request = retrieval_pb2.GetItemsRequest(item_ids=item_ids[:_MAX_ITEMS])
        try:
            answer = await retrieval.GetItems(request, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return {}
        return {item.item_id: item.title for item in answer.items}

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels.values():
            await channel.close()

    async def _state(self, name: str) -> dict[str, Any]:
        health, release, figures = await asyncio.gather(self._health(name), self._release(name), self._figures(name))
        return {
            "name": name,
            "target": self._targets.get(name, ""),
            "health": health,
            "release": release,
            "figures": figures,
        }

    async def _health(self, name: str) -> str:
        channel = self._channels.get(name)
        if channel is None:
            return "unknown"
        stub: Any = health_pb2_grpc.HealthStub(channel)  # whose types are missing
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return "unreachable"
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)).lower()

    async def _release(self, name: str) -> dict[str, Any] | None:
        channel = self._channels.get(name)
        if channel is None:
            return None
        stub: Any = ReleaseServiceStub(channel)  # whose types are those of blocking calls
        try:
            answer = await stub.GetRelease(release_pb2.GetReleaseRequest(), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return None
        return fields(answer)

    async def _figures(self, name: str) -> dict[str, Any] | None:
        return await read_page(self._metrics[name]) if name in self._metrics else None

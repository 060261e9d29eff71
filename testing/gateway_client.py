"""A gateway in this process with a client."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from shortlist.gateway.v1 import gateway_pb2, gateway_pb2_grpc, rules_pb2_grpc
from shortlist.release.v1 import release_pb2_grpc

from common.server.server import running
from common.server.telemetry import Metrics
from services.gateway.server.server import GatewayServer
from services.gateway.settings import Settings


class GatewayClient:
    """A client of a gateway.

    Attributes:
        target: Its address.
        channel: The channel to it.
        recommendations: The stub of its RecommendationService.
        releases: The stub of its ReleaseService.
        rules: The stub of its RuleService.
    """

    def __init__(self, channel: grpc.aio.Channel, metrics_port: int, target: str = "") -> None:
        self.target = target
        self.channel = channel
        self.recommendations: Any = gateway_pb2_grpc.RecommendationServiceStub(channel)
        self.rules: Any = rules_pb2_grpc.RuleServiceStub(channel)
        self.releases: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        self._metrics_port = metrics_port

    async def recommend(self, timeout_s: float = 10.0, **fields: Any) -> gateway_pb2.RecommendResponse:
        """Call Recommend with the fields of a request."""
        request = gateway_pb2.RecommendRequest(**fields)
        response: gateway_pb2.RecommendResponse = await self.recommendations.Recommend(request, timeout=timeout_s)
        return response

    async def record_events(self, *events: gateway_pb2.Event) -> gateway_pb2.RecordEventsResponse:
        """Call RecordEvents."""
        request = gateway_pb2.RecordEventsRequest(events=events)
        response: gateway_pb2.RecordEventsResponse = await self.recommendations.RecordEvents(request)
        return response

    async def metrics(self) -> str:
        """Return the Prometheus metrics as text."""
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        return await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[GatewayClient]:
    """Run a gateway while the body runs, and yield a client of it."""
    metrics = Metrics("gateway")
    async with (
        running(GatewayServer(settings, metrics), settings, metrics) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield GatewayClient(channel, server.metrics_port, f"127.0.0.1:{server.port}")


def item_ids(response: gateway_pb2.RecommendResponse) -> list[str]:
    """Return the ids of the recommended items."""
    return [item.item_id for item in response.items]


def degradation_kinds(response: gateway_pb2.RecommendResponse) -> list[str]:
    """Return the kinds of the degradations, without their prefix."""
    prefix = "DEGRADATION_KIND_"
    return [gateway_pb2.DegradationKind.Name(each.kind).removeprefix(prefix) for each in response.degradations]

"""How the gateway server starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from common.server.interceptors import CallInterceptor
from common.server.telemetry import Metrics
from services.gateway.profiles.profile_store import BadProfileStore
from services.gateway.server.server import GatewayServer
from services.gateway.settings import Settings
from testing.gateway_client import GatewayClient, running_gateway

MakeSettings = Callable[..., Settings]


async def test_a_bad_file_of_profiles_stops_the_start(gateway_settings: MakeSettings, tmp_path: Path):
    """A gateway whose profile store cannot be used does not start."""
    (tmp_path / "profiles.db").write_bytes(b"no database" * 100)
    with pytest.raises(BadProfileStore):
        async with running_gateway(gateway_settings()):
            pass


async def test_calls_before_the_start_are_unavailable(gateway_settings: MakeSettings):
    """While the gateway starts, calls are UNAVAILABLE with what to do."""
    metrics = Metrics("gateway")
    server = grpc.aio.server(interceptors=[CallInterceptor(metrics, gateway_settings().access_control())])
    GatewayServer(gateway_settings(), metrics).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await GatewayClient(channel, 0).recommend()
    await server.stop(None)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "starting; call again" in (refused.value.details() or "")

"""Channels whose certificates and token are replaced while they are open."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.server.access.channel_security import ChannelSecurity
from common.server.channel import open_blocking_channel, open_channel
from testing.security.certificates import Authority

REQUEST = release_pb2.ActivateReleaseRequest()


async def _peer_name(_: Any, context: Any) -> release_pb2.ActivateReleaseResponse:
    (name,) = context.auth_context()["x509_common_name"]
    return release_pb2.ActivateReleaseResponse(previous_release_id=name.decode())


async def test_a_replaced_client_certificate_is_shown(serving: Any, authority: Authority):
    """Calls after the files changed come with the new certificate, and calls in flight are answered."""
    begun, finish = asyncio.Event(), asyncio.Event()

    async def behaviour(request: Any, context: Any) -> release_pb2.ActivateReleaseResponse:
        if request.location == "slow":
            begun.set()
            await finish.wait()
        return await _peer_name(request, context)

    first, second = authority.issue("first"), authority.issue("second")
    assert first.certificate is not None
    assert first.key is not None
    assert second.certificate is not None
    assert second.key is not None
    security = ChannelSecurity.of(authorities=authority.file, certificate=first.certificate, key=first.key)
    async with AsyncExitStack() as opened:
        server = await opened.enter_async_context(serving(behaviour, tls_client_ca=authority.file))
        channel = await opened.enter_async_context(open_channel(f"127.0.0.1:{server.port}", security))
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        slow = stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location="slow"))
        await begun.wait()
        first.key.write_bytes(second.key.read_bytes())
        assert (await stub.ActivateRelease(REQUEST)).previous_release_id == "first"  # the pair does not fit yet
        first.certificate.write_bytes(second.certificate.read_bytes())
        assert (await stub.ActivateRelease(REQUEST)).previous_release_id == "second"
        finish.set()
        assert (await slow).previous_release_id == "first"


async def test_the_servers_name_may_be_another(serving: Any, authority: Authority):
    """A certificate for another name is accepted if that name is asked for, and refused otherwise."""
    async with serving() as server:
        for name, code in (("localhost", grpc.StatusCode.OK), ("shop.example", grpc.StatusCode.UNAVAILABLE)):
            security = ChannelSecurity.of(authorities=authority.file, server_name=name)
            async with open_channel(f"127.0.0.1:{server.port}", security) as channel:
                call = release_pb2_grpc.ReleaseServiceStub(channel).ActivateRelease(REQUEST)
                assert await call.code() == code


async def test_streams_and_states_pass_through(serving: Any, authority: Authority):
    """A stream works as on any channel, and the channel tells when it is connected."""
    async with serving() as server, open_channel(f"127.0.0.1:{server.port}", authority.client()) as channel:
        assert channel.get_state() == grpc.ChannelConnectivity.IDLE
        await channel.channel_ready()
        stub: Any = health_pb2_grpc.HealthStub(channel)
        statuses = aiter(stub.Watch(health_pb2.HealthCheckRequest()))
        assert (await anext(statuses)).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_blocking_client_speaks_tls(serving: Any, authority: Authority):
    """A program without an event loop is answered over TLS too."""
    async with serving() as server:

        def check() -> int:
            with open_blocking_channel(f"127.0.0.1:{server.port}", authority.client()) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=30).status)

        assert await asyncio.to_thread(check) == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("secured", [True, False])
async def test_calls_carry_the_token_of_the_file(
    serving: Any, calling: Any, fake_service: Any, authority: Authority, tmp_path: Path, secured: bool
):
    """Every call has the token of the file as it is, and the caller's own metadata."""
    seen: list[dict[str, str]] = []

    async def behaviour(_: Any, context: Any) -> None:
        seen.append({key: str(value) for key, value in context.invocation_metadata()})

    file = tmp_path / "token"
    file.write_text("first\n")
    security = authority.client(token_file=file) if secured else ChannelSecurity.of(token_file=file)
    running = serving(behaviour) if secured else calling(fake_service(behaviour))
    async with running as served:
        port = served.port if secured else served[0].port
        async with open_channel(f"127.0.0.1:{port}", security) as channel:
            await release_pb2_grpc.ReleaseServiceStub(channel).ActivateRelease(
                REQUEST, metadata=(("x-request-id", "r"),)
            )
    assert (seen[0]["authorization"], seen[0]["x-request-id"]) == ("Bearer first", "r")

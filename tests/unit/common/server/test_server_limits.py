"""Limits of a call's size, set by flags."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.server.channel import open_channel
from common.server.server import running
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics


@pytest.mark.parametrize(("size", "code"), [(1 << 19, "OK"), ((1 << 20) + 10, "RESOURCE_EXHAUSTED")])
async def test_a_request_beyond_the_flag_is_refused(fake_service: Any, size: int, code: str):
    """A request of more megabytes than the flag says is refused with its size, and a smaller one is read."""

    async def behaviour(*_: Any) -> None:
        return None

    settings = ServerSettings(port=0, metrics_port=0, max_message_mb=1)
    async with (
        running(fake_service(behaviour), settings, Metrics("test")) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        call = stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location="x" * size))
        assert (await call.code()).name == code


@pytest.mark.parametrize(("kilobytes", "code"), [(1, grpc.StatusCode.RESOURCE_EXHAUSTED), (4, grpc.StatusCode.OK)])
async def test_metadata_beyond_the_flag_are_refused(fake_service: Any, kilobytes: int, code: grpc.StatusCode):
    """Metadata of more kilobytes than the flag says are refused."""

    async def behaviour(*_: Any) -> None:
        return None

    settings = ServerSettings(port=0, metrics_port=0, max_metadata_kb=kilobytes)
    async with (
        running(fake_service(behaviour), settings, Metrics("test")) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
        call = stub.ActivateRelease(release_pb2.ActivateReleaseRequest(), metadata=(("x-note", "n" * 1_500),))
        assert await call.code() == code

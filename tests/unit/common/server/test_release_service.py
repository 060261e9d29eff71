"""The release service over real calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.errors import BadRelease
from common.release.store import Release
from common.server.live_release import LiveRelease
from common.server.release_service import SERVICE_NAME, ReleaseService, release_info
from common.server.telemetry import Metrics

MakeRelease = Callable[..., Release]


class Engine:
    """Knows its release and nothing else."""

    def __init__(self, release: Release) -> None:
        self.release = release

    def close(self) -> None:
        """Release nothing."""


def describe(engine: Engine) -> release_pb2.ReleaseInfo:
    """Tell what an engine serves."""
    info = release_info("ranking", engine.release, {"encoder": "CPUExecutionProvider"})
    info.limits["candidates"] = 2_000
    info.sources.append("semantic")
    return info


class Served:
    """A server of the release service alone."""

    names = (SERVICE_NAME,)

    def __init__(self, live: LiveRelease[Engine]) -> None:
        self.live = live

    def register(self, server: grpc.aio.Server) -> None:
        """Serve the release service."""
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(ReleaseService(self.live, describe), server)

    async def start(self) -> None:
        """Begin with nothing."""

    async def stop(self) -> None:
        """Release the engines."""
        await self.live.close()


@pytest.fixture
def service(metrics: Metrics) -> Served:
    """Return a server without a release."""
    return Served(LiveRelease(Engine, metrics))


async def test_a_release_is_activated_and_told(calling: Any, service: Served, make_release: MakeRelease):
    """ActivateRelease answers with the new release and the one before; GetRelease tells the same."""
    first, second = make_release("a"), make_release("b")
    async with calling(service) as (_, channel):
        stub = release_pb2_grpc.ReleaseServiceStub(channel)
        await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(first.path)))
        activated = await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(second.path)))
        told = await stub.GetRelease(release_pb2.GetReleaseRequest())
    assert activated.release == told.release
    assert activated.previous_release_id == told.previous_release_id == first.id
    info = told.release
    assert (info.release_id, info.service, info.location) == (second.id, "ranking", str(second.path))
    assert info.created_at.ToJsonString() == "2026-01-02T03:04:05Z"
    assert (info.data_source, info.data_fingerprint, info.items) == ("test", "f" * 64, 3)
    assert (dict(info.limits), list(info.sources)) == ({"candidates": 2_000}, ["semantic"])
    assert list(info.models) == [
        release_pb2.ModelInfo(
            name="encoder",
            sha256=second.manifest.files["encoder/model.onnx"].sha256,
            precision="fp32",
            execution_provider="CPUExecutionProvider",
            base_model="tiny (folder)",
        )
    ]


async def test_a_bad_release_is_refused_and_the_old_one_stays(calling: Any, service: Served, make_release: MakeRelease):
    """A release with a flipped byte is FAILED_PRECONDITION that names the file, and the old one still answers."""
    first, second = make_release("a"), make_release("b")
    model = second.path / "encoder/model.onnx"
    model.write_bytes(bytes([model.read_bytes()[0] ^ 1]) + model.read_bytes()[1:])
    async with calling(service) as (_, channel):
        stub = release_pb2_grpc.ReleaseServiceStub(channel)
        await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(first.path)))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location=str(second.path)))
        told = await stub.GetRelease(release_pb2.GetReleaseRequest())
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "encoder/model.onnx" in (error.value.details() or "")
    assert told.release.release_id == first.id


@pytest.mark.parametrize("location", ["", "  "])
async def test_a_location_is_required(calling: Any, service: Served, location: str):
    """An activation without a location is INVALID_ARGUMENT and names the field."""
    async with calling(service) as (_, channel):
        stub = release_pb2_grpc.ReleaseServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.ActivateRelease(release_pb2.ActivateReleaseRequest(location=location))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (error.value.details() or "").startswith("location:")


async def test_nothing_is_told_before_the_first_release(calling: Any, service: Served):
    """GetRelease before the first release is UNAVAILABLE."""
    async with calling(service) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await release_pb2_grpc.ReleaseServiceStub(channel).GetRelease(release_pb2.GetReleaseRequest())
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_model_that_the_manifest_lacks_is_a_bad_release(make_release: MakeRelease):
    """Describing a model that the manifest does not list is BadRelease and names the model."""
    with pytest.raises(BadRelease, match="fusion"):
        release_info("ranking", make_release(), {"fusion": "CPUExecutionProvider"})

"""The release of both services through the gateway."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from shortlist.release.v1 import release_pb2

from testing.gateway_backends import Backends
from testing.gateway_client import GatewayClient


async def test_releases_are_returned_and_changed(backends: Backends, client: GatewayClient):
    """The gateway returns and changes the release of both services, and then refreshes the popular items."""
    backends.retrieval.called.clear()
    activated = await client.releases.ActivateRelease(release_pb2.ActivateReleaseRequest(location="/releases/r2"))
    assert (activated.release.release_id, activated.previous_release_id) == ("r2", "r1")
    assert (await client.releases.GetRelease(release_pb2.GetReleaseRequest())).release.release_id == "r2"
    await asyncio.wait_for(backends.retrieval.called.wait(), 10)
    assert list(backends.retrieval.requests[-1].sources) == ["popular"]


@pytest.mark.parametrize(
    ("location", "status", "message"),
    [
        (" ", grpc.StatusCode.INVALID_ARGUMENT, "location: "),
        ("/releases/bad", grpc.StatusCode.FAILED_PRECONDITION, "ranking: release bad is damaged"),
    ],
)
async def test_bad_releases_are_refused(
    backends: Backends, client: GatewayClient, location: str, status: grpc.StatusCode, message: str
):
    """A missing or bad location is refused with its status and message."""
    backends.ranking_releases.bad = {"bad"}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.releases.ActivateRelease(release_pb2.ActivateReleaseRequest(location=location))
    assert refused.value.code() is status
    assert (refused.value.details() or "").startswith(message)

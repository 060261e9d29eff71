"""What the other servers of a fleet serve, asked from real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.errors import NotReady
from common.server.access.channel_security import ChannelSecurity
from common.server.rollout.replicas import Replicas


class Server(release_pb2_grpc.ReleaseServiceServicer):
    """Serves a release, or is starting if it has none."""

    names: Sequence[str] = ("shortlist.release.v1.ReleaseService",)

    def __init__(self, release_id: str) -> None:
        self._release_id = release_id

    def register(self, server: grpc.aio.Server) -> None:
        """Serve the release service."""
        release_pb2_grpc.add_ReleaseServiceServicer_to_server(self, server)

    async def start(self) -> None:
        """Load nothing."""

    async def stop(self) -> None:
        """Close nothing."""

    async def GetRelease(self, request: Any, context: Any) -> release_pb2.GetReleaseResponse:  # noqa: N802
        """Return the release."""
        del request, context
        if not self._release_id:
            raise NotReady("starting")
        return release_pb2.GetReleaseResponse(release=release_pb2.ReleaseInfo(release_id=self._release_id))


@pytest.mark.parametrize(
    ("scheme", "form"),
    [("", "127.0.0.1:{}"), ("", "dns:///127.0.0.1:{}"), ("ipv4:", "127.0.0.1:{}"), ("", "localhost:{}")],
)
async def test_every_replica_that_answers_is_told(calling: Any, scheme: str, form: str):
    """In each form of an address; one that starts and one that is gone are left out."""
    async with calling(Server("a")) as (one, _), calling(Server("b")) as (other, _), calling(Server("")) as (third, _):
        ports = [one.port, other.port, third.port, 1]
        target = scheme + ",".join(form.format(port) for port in ports)
        answers = await Replicas(target, ChannelSecurity()).releases()
    assert sorted({answer.release.release_id for answer in answers}) == ["a", "b"]


async def test_an_unknown_name_has_no_replicas():
    """As a headless service without ready pods."""
    assert not await Replicas("no-such-host.invalid:1", ChannelSecurity()).releases()

"""What the other servers of a fleet serve and refuse, asked from each of them."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Sequence
from typing import Any, Final

import grpc
from shortlist.release.v1 import release_pb2, release_pb2_grpc

from common.server.access.channel_security import ChannelSecurity
from common.server.channel import open_channel

_TIMEOUT_S: Final = 2.0
_FORMS: Final = ("ipv4:", "ipv6:")  # gRPC's own lists of addresses


class Replicas:
    """The replicas of a service behind its addresses.

    Args:
        target: ``host:port``, several with commas; a name that resolves to several addresses counts as all of them.
        security: How to connect to them.
    """

    def __init__(self, target: str, security: ChannelSecurity) -> None:
        self._target = target
        self._security = security

    async def releases(self) -> Sequence[release_pb2.GetReleaseResponse]:
        """Return what each replica that answers serves; one that starts or is gone does not answer."""
        rest = next((self._target.removeprefix(form) for form in _FORMS if self._target.startswith(form)), self._target)
        hosts = [address.strip().removeprefix("dns:///") for address in rest.split(",")]
        resolved = await asyncio.gather(*map(_addresses, hosts))
        asked = [self._ask(host, address) for host, addresses in resolved for address in addresses]
        return [answer for answer in await asyncio.gather(*asked) if answer is not None]

    async def _ask(self, host: str, address: str) -> release_pb2.GetReleaseResponse | None:
        # Certificates have the name, and the connection goes to one of its addresses.
        security = dataclasses.replace(self._security, server_name=self._security.server_name or host)
        async with open_channel(address, security) as channel:
            stub: Any = release_pb2_grpc.ReleaseServiceStub(channel)
            try:
                answer: release_pb2.GetReleaseResponse = await stub.GetRelease(
                    release_pb2.GetReleaseRequest(), timeout=_TIMEOUT_S
                )
            except grpc.aio.AioRpcError:
                return None
        return answer


async def _addresses(target: str) -> tuple[str, Sequence[str]]:
    """Return a target's host, and gRPC's name of each of its addresses."""
    host, _, port = target.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit():  # a socket of this machine, or another of gRPC's own names
        return "", [target]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError:  # a headless service without ready pods has no address
        return host, []
    ends = {(family, str(end[0])) for family, _, _, _, end in found}
    return host, sorted(
        f"ipv6:[{address}]:{port}" if family is socket.AF_INET6 else f"ipv4:{address}:{port}"
        for family, address in ends
    )

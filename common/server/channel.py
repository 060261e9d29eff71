"""Channels to other servers, and the time left of a call."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any, Final

import grpc
from grpc.aio._call import Call as BareCall

from common.security.certificates import read_material
from common.server.access.channel_security import ChannelSecurity, channel_credentials
from common.server.access.secured_channel import SecuredChannel
from common.server.event_loop import uninterrupted

MAX_MESSAGE_BYTES: Final = 16 << 20
MAX_METADATA_BYTES: Final = 8 << 10

_OPTIONS: Final = (
    # Servers are dialled directly; a proxy in the environment is for other traffic.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A peer that hangs, or disappears without closing its connections (a lost node), is noticed within 8 seconds.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),  # gRPC waits for the later of the two, and this one's default is a minute
    ("grpc.keepalive_permit_without_calls", 1),
    # A restarted peer is used again within a second; gRPC's default is up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # despite its name, the timeout of one attempt to connect
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Calls go to all addresses of the target in turn, and connections stay open between calls.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
)


def open_channel(target: str, security: ChannelSecurity | None = None) -> grpc.aio.Channel:
    """Return a channel to ``host:port`` (or any gRPC target); the caller closes it. It connects on first use.

    Calls fail at once with UNAVAILABLE while the peer is down, and succeed within a second of its return.

    Args:
        target: The server.
        security: TLS, certificates and token of the connection; None for neither.

    Raises:
        BadCertificate: The certificates cannot be used.
        BadTokenFile: The token cannot be used.
    """
    if security is None or security.is_plain:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    return SecuredChannel(target, security, _OPTIONS)


def open_blocking_channel(target: str, security: ChannelSecurity | None = None) -> grpc.Channel:
    """Return a channel for a program without an event loop; its certificates are those of now, and it sends no token.

    Raises:
        BadCertificate: The certificates cannot be used.
    """
    if security is None or not security.tls:
        return grpc.insecure_channel(target, options=_OPTIONS)
    name = (("grpc.ssl_target_name_override", security.server_name),) if security.server_name else ()
    credentials = channel_credentials(read_material(security.files))
    return grpc.secure_channel(target, credentials, options=(*_OPTIONS, *name))


async def answer_of(call: Any) -> Any:
    """Return the answer of a call; the call ends on the server too if the task that waits is cancelled."""
    try:
        return await uninterrupted(_awaited(call))
    except asyncio.CancelledError:
        BareCall.cancel(call)
        raise


async def _awaited(call: Any) -> Any:
    return await call


def remaining_s(context: Any, max_s: float = math.inf) -> float:
    """Return the seconds until the deadline of the current call, at least 0 and at most ``max_s``.

    A call without a deadline has ``max_s``.
    """
    remaining = context.time_remaining()
    return max_s if remaining is None else max(0.0, min(float(remaining), max_s))

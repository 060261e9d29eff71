"""Channels to other servers, and how much time a call has left."""

from __future__ import annotations

import json
import math
from typing import Any, Final

import grpc

MAX_MESSAGE_BYTES: Final = 16 << 20


_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A peer that vanished without a word (a lost node) is noticed within 12 seconds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A peer that restarted is used again within a second; gRPC's own bound is two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 1_000),  # in spite of its name the time that one attempt to connect gets
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Calls go round all addresses of the target, and connections are kept up between calls.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
)


def open_channel(target: str) -> grpc.aio.Channel:
    """Return a channel to ``host:port`` (or any gRPC target); close it when done. Nothing connects before it is used.

    Calls on it fail at once with UNAVAILABLE while the peer is down, and reach it within a second of its return.
    """
    return grpc.aio.insecure_channel(target, options=_OPTIONS)


def remaining_s(context: Any, at_most_s: float = math.inf) -> float:
    """Return the seconds until the deadline of the call being answered, at most ``at_most_s``, at least 0.

    A call without a deadline has ``at_most_s``.
    """
    remaining = context.time_remaining()
    return at_most_s if remaining is None else max(0.0, min(float(remaining), at_most_s))

"""How the client connects: channel options, TLS, token, request id."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

Token = str | Callable[[], str]
Metadata = tuple[tuple[str, str], ...]

MAX_MESSAGE_BYTES: Final = 16 << 20
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A connection whose server disappeared is noticed within 8 seconds.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A server that is back is used again within a second; gRPC's default is up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # All addresses of a headless name get their share; gRPC retries nothing, since the client does.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True)
class Tls:
    """TLS of the connection.

    Attributes:
        ca_file: The authorities that the server's certificate must be of (PEM); None for the system's.
        certificate_file: The client's own certificate chain (PEM), for mutual TLS.
        key_file: Its key (PEM).
        server_name: The name that the server's certificate must have, if it is not the target's.
    """

    ca_file: str | Path | None = None
    certificate_file: str | Path | None = None
    key_file: str | Path | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError if a certificate comes without its key, or a key without its certificate."""
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("mutual TLS needs both certificate_file and key_file")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return gRPC's credentials; raises OSError if a file cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=_content(self.ca_file),
            private_key=_content(self.key_file),
            certificate_chain=_content(self.certificate_file),
        )


def _content(file: str | Path | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


def channel_options(tls: Tls | None, further: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the options of a channel; ``further`` ones win."""
    name = [("grpc.ssl_target_name_override", tls.server_name)] if tls is not None and tls.server_name else []
    return list({**dict(_OPTIONS), **dict(name), **dict(further)}.items())


def metadata_of(token: Token | None, request_id: str) -> Metadata:
    """Return the metadata of a call: its id, made if empty, and the token, asked for at each attempt."""
    identity = (("x-request-id", request_id or uuid.uuid4().hex),)
    if token is None:
        return identity
    return (*identity, ("authorization", f"Bearer {token() if callable(token) else token}"))

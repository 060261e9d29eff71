"""The settings that say how a server connects to the services that it calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from common.security.addresses import target_is_loopback
from common.server.access.channel_security import ChannelSecurity
from common.server.access.settings import SecuritySettings


class BackendSettings(SecuritySettings):
    """TLS and token of the calls to other services."""

    backend_ca: Path | None = Field(
        None, description="PEM file of the authorities of the called services' certificates; turns on TLS to them."
    )
    backend_certificate: Path | None = Field(
        None, description="PEM file of the certificate that this server shows them (mutual TLS)."
    )
    backend_key: Path | None = Field(None, description="PEM file of that certificate's private key.")
    backend_name: str = Field(
        "", description="Name that their certificates must have, if it is not the host of their address."
    )
    backend_token_file: Path | None = Field(
        None, description="File with the token that the calls carry; read again when it changes."
    )

    @model_validator(mode="after")
    def _backends_are_secured(self) -> Self:
        if (self.backend_certificate is None) != (self.backend_key is None):
            raise ValueError("--backend-certificate and --backend-key: give both or neither")
        if self.backend_ca is not None:
            return self
        if self.backend_certificate is not None:
            raise ValueError("--backend-certificate: it needs TLS; give --backend-ca")
        for flag, addresses in self.backend_addresses().items():
            if not self.insecure and not all(map(target_is_loopback, addresses)):
                raise ValueError(
                    f"{flag} {','.join(addresses)} is another machine's, and would be called without TLS; give "
                    "--backend-ca, or accept connections that anybody can read with --insecure true"
                )
        return self

    def backend_addresses(self) -> dict[str, Sequence[str]]:
        """Return the addresses of the called services, by flag."""
        return {}

    def backend_security(self) -> ChannelSecurity:
        """Return how this server secures its connections to other services."""
        return ChannelSecurity.of(
            authorities=self.backend_ca,
            certificate=self.backend_certificate,
            key=self.backend_key,
            server_name=self.backend_name,
            token_file=self.backend_token_file,
        )

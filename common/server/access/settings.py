"""The settings that say who may reach a server, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from common.security.addresses import is_loopback
from common.security.certificates import TlsFiles


class SecuritySettings(BaseSettings):
    """Address and TLS of every server."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for all interfaces.")
    tls_certificate: Path | None = Field(
        default=None, description="PEM file of the server's certificate chain; read again when it changes."
    )
    tls_key: Path | None = Field(default=None, description="PEM file of the certificate's private key, not encrypted.")
    tls_client_ca: Path | None = Field(
        default=None,
        description="PEM file of authorities; every client then needs a certificate of theirs (mutual TLS).",
    )
    insecure: bool = Field(
        default=False, description="Allow connections without TLS to and from other machines, where anybody can read."
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("--tls-certificate and --tls-key: give both or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("--tls-client-ca: client certificates need TLS; give --tls-certificate and --tls-key")
        return self

    @model_validator(mode="after")
    def _in_the_clear_only_on_loopback(self) -> Self:
        if self.tls_certificate is None and not self.insecure and not is_loopback(self.host):
            raise ValueError(
                f"--host {self.host} can be reached from other machines, and the ports have no TLS; give "
                "--tls-certificate and --tls-key, or accept connections that anybody can read with --insecure true"
            )
        return self

    def tls(self) -> TlsFiles | None:
        """Return the files of the ports' TLS; None if connections are in the clear."""
        if self.tls_certificate is None:
            return None
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_client_ca)

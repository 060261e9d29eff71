"""The playground's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.security.addresses import is_loopback, target_is_loopback


class Settings(BaseSettings):
    """The playground: a page in the browser that asks a gateway, shows both stages, and compares releases and policies.

    It changes nothing without its admin token. With --release it starts retrieval, ranking and gateway itself.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", validate_default=True, env_prefix="SHORTLIST_PLAYGROUND_"
    )

    host: str = Field("127.0.0.1", min_length=1, description="Address on which the page is served.")
    port: int = Field(8_080, ge=0, le=65_535, description="Port of the page; 0 for a free one.")
    allowed_hosts: str = Field(
        "",
        description="Names by which browsers reach the page, with commas; this machine's loopback is always allowed.",
    )
    gateways: str = Field(
        "127.0.0.1:50051",
        min_length=1,
        description="Gateways to ask, with commas, each host:port or NAME=host:port; with two, answers are compared.",
    )
    gateway_ca: Path | None = Field(
        None, description="PEM file of the authorities of the gateways' certificates; turns on TLS to them."
    )
    gateway_certificate: Path | None = Field(None, description="PEM file of the playground's own certificate.")
    gateway_key: Path | None = Field(None, description="PEM file of that certificate's private key.")
    gateway_name: str = Field("", description="Name in the gateways' certificates, if it is not that of their address.")
    gateway_token_file: Path | None = Field(None, description="File with the token that calls of gateways carry.")
    timeout_s: float = Field(10.0, gt=0, allow_inf_nan=False, description="Seconds that a call of a gateway may take.")
    retrieval_target: str = Field(
        "", description="Address of retrieval, to show the titles of a history; without it, items' ids are shown."
    )
    metrics: str = Field(
        "", description="Pages of metrics, with commas, each NAME=host:port, to show the servers' rates and latencies."
    )
    users: Path | None = Field(
        None, description="JSON lines of users to choose from: user_id and history, a list of item ids, oldest first."
    )
    judgements: Path | None = Field(
        None, description="Folder for votes: judgements.jsonl, which the pipeline reads, and votes.jsonl."
    )
    admin_token_file: Path | None = Field(
        None, description="File with the token that allows votes, recording and stopping servers; none: read-only."
    )
    release: str = Field("", description="Release or store to serve on this machine: starts the three servers itself.")
    data_dir: Path | None = Field(
        None, description="Folder for profiles, changes of the catalogue and the log of servers started with --release."
    )
    tls_certificate: Path | None = Field(None, description="PEM file of the page's certificate.")
    tls_key: Path | None = Field(None, description="PEM file of that certificate's private key.")
    insecure: bool = Field(
        False, description="Allow connections without TLS to and from other machines, where anybody can read."
    )

    @model_validator(mode="after")
    def _is_secured(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("--tls-certificate and --tls-key: give both or neither")
        if (self.gateway_certificate is None) != (self.gateway_key is None):
            raise ValueError("--gateway-certificate and --gateway-key: give both or neither")
        if self.insecure:
            return self
        if self.tls_certificate is None and not is_loopback(self.host):
            raise ValueError(
                f"--host {self.host} is reachable from other machines without TLS; give --tls-certificate and "
                "--tls-key, or accept connections that anybody can read with --insecure true"
            )
        if self.gateway_ca is None and not all(map(target_is_loopback, self.gateway_targets().values())):
            raise ValueError(
                "--gateways: another machine's gateway would be called without TLS; give --gateway-ca, or accept "
                "connections that anybody can read with --insecure true"
            )
        return self

    @model_validator(mode="after")
    def _lists_are_readable(self) -> Self:
        self.gateway_targets()
        self.metrics_pages()
        return self

    def gateway_targets(self) -> dict[str, str]:
        """Return the gateways' addresses by name; raises ValueError if a name occurs twice."""
        return _by_name("--gateways", self.gateways)

    def metrics_pages(self) -> Mapping[str, str]:
        """Return the addresses of the pages of metrics by the servers' names; raises ValueError as above."""
        return _by_name("--metrics", self.metrics) if self.metrics else {}


def words(text: str) -> list[str]:
    """Return the parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _by_name(flag: str, text: str) -> dict[str, str]:
    """Return addresses by name; an address without a name is its own."""
    found: dict[str, str] = {}
    for part in words(text):
        name, equals, address = part.partition("=")
        name, address = name.strip(), address.strip() if equals else name.strip()
        if not name or not address:
            raise ValueError(f"{flag}: {part!r} is not NAME=host:port")
        if name in found:
            raise ValueError(f"{flag}: the name {name} occurs twice")
        found[name] = address
    return found

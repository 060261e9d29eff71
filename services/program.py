"""The program `python -m services`: retrieval, ranking and gateway together on one machine."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.server.access.channel_security import ChannelSecurity
from common.server.settings import load_settings
from services.supervisor import ChildProcess, supervise


class LocalSettings(BaseSettings):
    """Runs retrieval, ranking and gateway as three processes, restarts those that die, and drains them on SIGTERM.

    Other settings are read from each server's environment variables; `python -m services.<name> --help` lists them.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True, env_prefix="SHORTLIST_LOCAL_")

    release: str = Field(description="Path or URL of a release, or of a release store to serve its current release.")
    host: str = Field(default="127.0.0.1", description="IPv4 address on which all three listen.")
    gateway_port: int = Field(default=50_051, ge=0, le=65_535, description="Port of the gateway; 0 for a free one.")
    retrieval_port: int = Field(default=50_052, ge=0, le=65_535, description="Port of retrieval; 0 for a free one.")
    ranking_port: int = Field(default=50_053, ge=0, le=65_535, description="Port of ranking; 0 for a free one.")
    gateway_metrics_port: int = Field(
        default=9_091, ge=0, le=65_535, description="Port of the gateway's Prometheus metrics."
    )
    retrieval_metrics_port: int = Field(
        default=9_092, ge=0, le=65_535, description="Port of retrieval's Prometheus metrics."
    )
    ranking_metrics_port: int = Field(
        default=9_093, ge=0, le=65_535, description="Port of ranking's Prometheus metrics."
    )
    profiles: Path | None = Field(
        default=None, description="SQLite file of the gateway's profiles; the gateway's default if unset."
    )
    data_dir: Path | None = Field(
        default=None, description="Folder for catalogue changes of retrieval; retrieval's default if unset."
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file of the certificate of all three, which they also show one another."
    )
    tls_key: Path | None = Field(default=None, description="PEM file of the certificate's private key, not encrypted.")
    tls_ca: Path | None = Field(
        default=None, description="PEM file of the authorities that the certificate comes from; needed with it."
    )
    tls_name: str = Field(default="", description="Name in the certificate, if it is not that of the host.")
    tls_client_ca: Path | None = Field(
        default=None, description="PEM file of authorities; every client then needs a certificate of theirs."
    )
    access_file: Path | None = Field(
        default=None, description="TOML file of callers of all three: their tokens' hashes, certificates and scopes."
    )
    insecure: bool = Field(
        default=False, description="Allow connections without TLS to and from other machines, where anybody can read."
    )
    trace_endpoint: str = Field(
        default="", description="OpenTelemetry collector of all three, as http://host:4317; no traces if empty."
    )
    trace_share: float = Field(default=0.1, ge=0, le=1, description="Share of calls that are traced.")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        given = [self.tls_certificate is None, self.tls_key is None, self.tls_ca is None]
        if len(set(given)) > 1:
            raise ValueError("--tls-certificate, --tls-key and --tls-ca: give all three or none")
        return self

    def security(self) -> ChannelSecurity:
        """Return how the three, and their supervisor, connect to one another."""
        return ChannelSecurity.of(
            authorities=self.tls_ca, certificate=self.tls_certificate, key=self.tls_key, server_name=self.tls_name
        )


def main() -> int:
    """Run the three servers; returns the exit code."""
    settings = load_settings(LocalSettings, "python -m services", sys.argv[1:])
    try:
        return asyncio.run(supervise(child_processes(settings)))
    except OSError as error:
        sys.stderr.write(f"python -m services: {error}\n")
        return 1


def child_processes(settings: LocalSettings) -> list[ChildProcess]:
    """Return the commands of the three servers, the gateway last; raises OSError if a port is taken.

    Ports are checked here first: another server on a child's port would otherwise be mistaken for the child.
    """
    with ExitStack() as reserved:  # all at once, else two servers could get the same free port
        retrieval = reserved.enter_context(_reserve_address(settings.host, settings.retrieval_port, "--retrieval-port"))
        ranking = reserved.enter_context(_reserve_address(settings.host, settings.ranking_port, "--ranking-port"))
        gateway = reserved.enter_context(_reserve_address(settings.host, settings.gateway_port, "--gateway-port"))
    release = ("--release", settings.release)
    targets = ("--retrieval-target", retrieval, "--ranking-target", ranking)
    data_dir, profiles = _path("--data-dir", settings.data_dir), _path("--profiles", settings.profiles)
    return [
        _child(settings, "retrieval", retrieval, settings.retrieval_metrics_port, *release, *data_dir),
        _child(settings, "ranking", ranking, settings.ranking_metrics_port, *release, *_texts(settings, retrieval)),
        _child(
            settings, "gateway", gateway, settings.gateway_metrics_port, *targets, *profiles, *_backend_flags(settings)
        ),
    ]


def _child(settings: LocalSettings, name: str, address: str, metrics_port: int, *arguments: str) -> ChildProcess:
    host, _, port = address.rpartition(":")
    listen = ("--host", host, "--port", port, "--metrics-port", str(metrics_port))
    security = (
        *_path("--tls-certificate", settings.tls_certificate),
        *_path("--tls-key", settings.tls_key),
        *_path("--tls-client-ca", settings.tls_client_ca),
        *_path("--access-file", settings.access_file),
        *(("--insecure", "true") if settings.insecure else ()),
    )
    traces = ("--trace-endpoint", settings.trace_endpoint, "--trace-share", str(settings.trace_share))
    traced = traces if settings.trace_endpoint else ()
    command = (sys.executable, "-m", f"services.{name}", *listen, *security, *traced, *arguments)
    return ChildProcess(name, command, address, settings.security())


def _texts(settings: LocalSettings, retrieval: str) -> tuple[str, ...]:
    """Return the flags by which ranking has the texts of changed items, unless it has them from a stream."""
    if "SHORTLIST_RANKING_CHANGE_STREAM" in os.environ:
        return ()
    return ("--retrieval-target", retrieval, *_backend_flags(settings))


def _backend_flags(settings: LocalSettings) -> tuple[str, ...]:
    return (
        *_path("--backend-ca", settings.tls_ca),
        *_path("--backend-certificate", settings.tls_certificate),
        *_path("--backend-key", settings.tls_key),
        *(("--backend-name", settings.tls_name) if settings.tls_name else ()),
    )


def _path(flag: str, path: Path | None) -> tuple[str, ...]:
    return () if path is None else (flag, str(path))


@contextmanager
def _reserve_address(host: str, port: int, flag: str) -> Iterator[str]:
    """Reserve a port while the body runs, and yield it as ``host:port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                f"{host}:{port} is taken or not an address of this machine; set another with {flag} or --host"
            ) from error
        yield f"{host}:{probe.getsockname()[1]}"

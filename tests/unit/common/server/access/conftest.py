"""A server with TLS, and its authority."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from common.security.certificates import TlsFiles
from common.server.server import RunningServer, running
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics
from testing.security.certificates import Authority

Serving = Callable[..., AbstractAsyncContextManager[RunningServer]]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority."""
    return Authority(tmp_path)


@pytest.fixture
def certificate(authority: Authority) -> TlsFiles:
    """Return a server's certificate."""
    return authority.issue("server")


@pytest.fixture
def serving(fake_service: Any, certificate: TlsFiles, metrics: Metrics) -> Serving:
    """Return a context manager that runs a server with the certificate; settings may be given."""

    @asynccontextmanager
    async def serve(behaviour: Any = None, **given: Any) -> AsyncIterator[RunningServer]:
        async def nothing(*_: Any) -> None:
            return None

        ports = {"port": 0, "metrics_port": 0, **given}
        settings = ServerSettings(tls_certificate=certificate.certificate, tls_key=certificate.key, **ports)
        async with running(fake_service(behaviour or nothing), settings, metrics) as server:
            yield server

    return serve

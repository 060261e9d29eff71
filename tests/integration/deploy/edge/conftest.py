"""Two gateways over fake services behind a real Envoy, which runs with what the chart deploys."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pytest
import pytest_asyncio

from testing.edge.envoy_process import ENVOY, GATEWAY_NAME, HELM, EnvoyProcess
from testing.edge.name_server import NameServer
from testing.gateway_backends import Backends
from testing.server_process import ServerProcess, free_port

# Deadlines of the gateway and of Envoy that a busy machine keeps.
TIMEOUT_S = 20


class Fleet:
    """Gateways on addresses of their own, the DNS that lists them, and Envoys in front; an async context manager."""

    def __init__(self, folder: Path) -> None:
        self.names = NameServer()
        self.backends = Backends()
        self.port = free_port()
        self.gateways: dict[str, ServerProcess] = {}
        self.envoys: list[EnvoyProcess] = []
        self._folder = folder
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._resources.enter_async_context(self.names)
        await self.backends.start()
        self._resources.push_async_callback(self.backends.stop)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def add_gateway(self, address: str, **flags: Any) -> ServerProcess:
        """Start a gateway, and list it before it serves."""
        folder = self._folder / address
        folder.mkdir()
        given = {
            "retrieval-target": self.backends.retrieval_target,
            "ranking-target": self.backends.ranking_target,
            "profiles": folder / "profiles.sqlite3",
            "request-timeout-s": TIMEOUT_S,
            "default-timeout-s": TIMEOUT_S,
        }
        gateway = ServerProcess("gateway", given | flags, folder / "log", host=address, port=self.port)
        self._resources.push_async_callback(gateway.close)
        await gateway.start()
        self.gateways[address] = gateway
        self.names.addresses.setdefault(GATEWAY_NAME, []).append(address)
        return gateway

    async def add_envoy(
        self, values: dict[str, Any] | None = None, folders: dict[str, Path] | None = None
    ) -> EnvoyProcess:
        """Start an Envoy, and wait until it has a gateway that serves."""
        folder = self._folder / f"envoy-{free_port()}"
        folder.mkdir()
        given = dict(values or {})
        given["edge"] = {"timeoutSeconds": TIMEOUT_S, **given.get("edge", {})}
        envoy = EnvoyProcess(folder, self.port, self.names.port, given, folders)
        self._resources.push_async_callback(envoy.close)
        self.envoys.append(envoy)
        await envoy.start()
        await envoy.ready()
        return envoy


@pytest.fixture
def new_fleet(tmp_path: Path) -> Callable[[], Fleet]:
    """Return a function that makes a fleet without gateways."""
    _skip_without_envoy()
    return lambda: Fleet(tmp_path)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Return a fleet of two gateways."""
    _skip_without_envoy()
    async with Fleet(tmp_path_factory.mktemp("fleet")) as running:
        for address in ("127.0.1.1", "127.0.1.2"):
            await running.add_gateway(address)
        for gateway in running.gateways.values():
            await gateway.serving()
        yield running


def _skip_without_envoy() -> None:
    for program in (ENVOY, HELM):
        if not program.exists():
            pytest.skip(f"{program.name} is not installed; `make test-deploy` installs it")


class HttpCall:
    """One HTTP call and its answer."""

    def __init__(self, port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            self.status = answer.status
            self.headers = {name.lower(): value for name, value in answer.getheaders()}
            self.body = answer.read()
        finally:
            connection.close()

    @property
    def json(self) -> Any:
        """The answer, read as JSON."""
        return json.loads(self.body)


@pytest.fixture
def http_call() -> Callable[..., Awaitable[HttpCall]]:
    """Return a function that calls by HTTP, with a body that is JSON unless it is bytes."""

    async def call(port: int, method: str, path: str, body: Any = b"", **headers: str) -> HttpCall:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content-type": "application/json"} | {name.replace("_", "-"): one for name, one in headers.items()}
        return await asyncio.to_thread(HttpCall, port, method, path, data, given)

    return call

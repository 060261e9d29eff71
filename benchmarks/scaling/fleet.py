"""Replicas of all three servers behind names of DNS, and Envoy in front: a cluster of Kubernetes as processes.

A replica is replaced as Kubernetes does it: the new one serves before the old one leaves DNS, and the old one is
stopped some seconds later (`preStopSeconds` of the chart). It starts at the lowest priority, because in a cluster it
would not start on the cores of those that serve; once it serves, its priority is theirs.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import urllib.request
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final, Self

from common.errors import NotReady
from testing.edge.envoy_process import GATEWAY_NAME, EnvoyProcess
from testing.edge.name_server import NameServer
from testing.server_process import ServerProcess, free_port

SERVICES: Final = ("ranking", "retrieval", "gateway")
# The chart's settings: max_connection_age_s, and preStopSeconds, in which clients look names up again.
_CONNECTION_AGE_S: Final = 5
PRE_STOP_S: Final = 10.0
_POLL_S: Final = 1
_MAX_REPLICAS: Final = 9
_LOW_PRIORITY: Final = ("nice", "-n", "19")


class Replica:
    """One process of a service.

    Attributes:
        address: Its address on the loopback interface.
        server: Its process.
    """

    def __init__(self, address: str, server: ServerProcess, metrics_port: int) -> None:
        self.address = address
        self.server = server
        self._metrics = f"http://{address}:{metrics_port}/metrics"

    async def calls(self, method: str) -> int:
        """Return how many calls of a method it finished."""
        page = await asyncio.to_thread(self._page)
        counted = (line for line in page.splitlines() if "_requests_total{" in line and f'/{method}"' in line)
        return sum(int(float(line.rpartition(" ")[2])) for line in counted)

    def _page(self) -> str:
        with urllib.request.urlopen(self._metrics) as answer:  # noqa: S310 - an address of our own
            return str(answer.read(), "utf-8")


class ReplicaFleet:
    """Replicas of ranking, retrieval and the gateway; an async context manager.

    Args:
        store: The release store that ranking and retrieval follow.
        folder: For logs and profiles.
        replicas: How many of each service.

    Attributes:
        envoy: Envoy in front of the gateways.
        replicas: The running replicas by service.
    """

    def __init__(self, store: Path, folder: Path, replicas: int = 2) -> None:
        self._store = store
        self._folder = folder
        self._count = replicas
        self._names = NameServer()
        self._ports = {service: free_port() for service in SERVICES}
        self._numbers = {service: itertools.count(1) for service in SERVICES}
        self._resources = AsyncExitStack()
        self.replicas: dict[str, list[Replica]] = {service: [] for service in SERVICES}
        self.envoy: EnvoyProcess

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._resources.aclose()
            raise
        return self

    async def _start(self) -> None:
        await self._resources.enter_async_context(self._names)
        for service in SERVICES:
            for _ in range(self._count):
                await self.add(service)
        self.envoy = EnvoyProcess(self._folder, self._ports["gateway"], self._names.port)
        self._resources.push_async_callback(self.envoy.close)
        await self.envoy.start()
        await self.envoy.ready()

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def add(self, service: str) -> Replica:
        """Start a replica, and list it in DNS once it serves."""
        address = _address(service, next(self._numbers[service]))
        metrics_port = free_port()
        flags = {"metrics-port": metrics_port, "log-level": "warning", "max-connection-age-s": _CONNECTION_AGE_S}
        flags |= self._own_flags(service, address)
        log = self._folder / f"{service}-{address}.log"
        server = ServerProcess(service, flags, log, _LOW_PRIORITY, address, self._ports[service])
        self._resources.push_async_callback(server.close)
        await server.start()
        await server.serving()
        _raise_priority(server.pid)
        replica = Replica(address, server, metrics_port)
        self.replicas[service].append(replica)
        self._names.addresses[_name(service)] = [one.address for one in self.replicas[service]]
        return replica

    async def replace(self, service: str, replica: Replica) -> None:
        """Add a replica, take another one out of DNS, and stop that one when its callers had time to notice."""
        await self.add(service)
        self.replicas[service].remove(replica)
        self._names.addresses[_name(service)] = [one.address for one in self.replicas[service]]
        await asyncio.sleep(PRE_STOP_S)
        try:
            await replica.server.terminate()
        except ProcessLookupError:
            raise NotReady(f"{service} {replica.address} ended by itself: {replica.server.last_line()}") from None

    def _own_flags(self, service: str, address: str) -> dict[str, Any]:
        if service == "ranking":
            return {"release": self._store, "release-poll-s": _POLL_S, "replica-name": address}
        if service == "retrieval":
            # It resolves names by the system, which does not know ours: all addresses that ranking can have.
            numbers = range(1, _MAX_REPLICAS + 1)
            everyone = ",".join(f"{_address('ranking', number)}:{self._ports['ranking']}" for number in numbers)
            return {"release": self._store, "release-poll-s": _POLL_S, "ranking-target": everyone}
        targets = {
            f"{backend}-target": self._names.target(_name(backend), self._ports[backend])
            for backend in ("retrieval", "ranking")
        }
        # The addresses are of the loopback interface, which a name does not show.
        return targets | {
            "insecure": "true",
            "release-sync-interval-s": 0,
            "profiles": self._folder / f"{address}.sqlite3",
        }


def _raise_priority(pid: int) -> None:
    """Give a process and its threads this one's priority; only root may, and others keep the low one."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(PermissionError, ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), os.getpriority(os.PRIO_PROCESS, 0))


def _address(service: str, number: int) -> str:
    return f"127.0.{SERVICES.index(service) + 1}.{number}"


def _name(service: str) -> str:
    return GATEWAY_NAME if service == "gateway" else f"x-{service}-headless.shop"

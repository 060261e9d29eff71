"""The three services on this machine, for measurements and the demo."""

from __future__ import annotations

import os
import socket
import subprocess  # only our own modules are run  # nosec B404
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.errors import NotReady
from common.server.access.channel_security import ChannelSecurity
from common.server.channel import open_blocking_channel

SERVICES: Final = ("retrieval", "ranking", "gateway")
_START_S: Final = 120.0
_STOP_S: Final = 30.0
_LAST_LINES: Final = 10


@dataclass(frozen=True)
class LocalServices:
    """The running services.

    Attributes:
        targets: gRPC addresses by name.
        metrics: Addresses of the Prometheus metrics by name.
        process: The supervisor process, which runs and restarts them.
        log: Their log file.
    """

    targets: Mapping[str, str]
    metrics: Mapping[str, str]
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def local_services(
    release: Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    security: ChannelSecurity | None = None,
) -> Iterator[LocalServices]:
    """Run the services on free ports while the body runs.

    Args:
        release: The release or store to serve.
        folder: Folder for profiles, item changes and the log `services.log`.
        environment: Further environment variables: settings of the services.
        security: How to connect to them, if the settings turn on TLS.

    Raises:
        NotReady: A service did not start; the message ends with the log's last lines.
    """
    names = (*SERVICES, *(f"{name}-metrics" for name in SERVICES))
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    targets = {name: f"127.0.0.1:{ports[name]}" for name in SERVICES}
    folder.mkdir(parents=True, exist_ok=True)
    flags = [flag for name, port in ports.items() for flag in (f"--{name}-port", str(port))]
    places = ["--profiles", str(folder / "profiles.sqlite3"), "--data-dir", str(folder / "changes")]
    command = [sys.executable, "-m", "services", "--release", str(release), *flags, *places]
    log = folder / "services.log"
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module  # nosec B603
            command, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
        try:
            await_serving(process, targets, log, _START_S, security)
            metrics = {name: f"127.0.0.1:{ports[f'{name}-metrics']}" for name in SERVICES}
            yield LocalServices(targets, metrics, process, log)
        finally:
            process.terminate()
            process.wait(_STOP_S)


def free_ports(count: int) -> list[int]:
    """Return free ports of this machine; they are held together, so that none is returned twice."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for trial in sockets:
            trial.bind(("127.0.0.1", 0))
        return [int(trial.getsockname()[1]) for trial in sockets]


def await_serving(
    process: subprocess.Popen[bytes],
    targets: Mapping[str, str],
    log: Path,
    timeout_s: float,
    security: ChannelSecurity | None = None,
) -> None:
    """Wait until every server is ready.

    Args:
        process: The process of the servers.
        targets: Their gRPC addresses by name.
        log: Their log.
        timeout_s: How long to wait, in seconds.
        security: How to connect to them.

    Raises:
        NotReady: The process ended or the time is over; the message ends with the last lines of the log.
    """
    ends = time.monotonic() + timeout_s
    waiting = dict(targets)
    while waiting:
        if process.poll() is not None or time.monotonic() > ends:
            tail = "\n".join(log.read_text().splitlines()[-_LAST_LINES:])
            raise NotReady(f"{', '.join(waiting)} did not start; the last lines of {log}:\n{tail}")
        waiting = {name: target for name, target in waiting.items() if not _is_serving(target, security)}


def _is_serving(target: str, security: ChannelSecurity | None) -> bool:
    """Return whether the server reports that it serves; wait up to a second for its answer."""
    with open_blocking_channel(target, security) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0, wait_for_ready=True)
        except grpc.RpcError:
            return False
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        time.sleep(0.1)  # it is loading; polling at once would take processor time from it
        return False
    return True

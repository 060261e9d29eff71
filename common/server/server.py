"""The lifecycle of a gRPC server: listen, load, serve, drain.

The port is bound before the service loads, so health checks are answered (NOT_SERVING) from the start. On SIGTERM the
health becomes NOT_SERVING, then the server refuses new calls and finishes those in progress.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from common.errors import ShortlistError
from common.gc_freeze import freeze_heap
from common.server import event_loop
from common.server.access.server_tls import ServerTls
from common.server.channel import MAX_MESSAGE_BYTES
from common.server.health import HealthService
from common.server.interceptors import CallInterceptor
from common.server.metrics_server import metrics_server
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # else two servers can share a port without an error
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Shorter than the ping interval of common.server.channel; else its connections are closed for too many pings.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

_log = structlog.get_logger()


class PortUnavailable(Exception):  # noqa: N818 - named for what it is
    """The server cannot listen on the address."""


class Service(Protocol):
    """A service that a server runs.

    Attributes:
        names: Full gRPC service names, for health and reflection.
    """

    @property
    def names(self) -> Sequence[str]:
        """Return the full gRPC service names, for health and reflection."""

    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicers to a server."""

    async def start(self) -> None:
        """Load, verify and warm up; earlier calls raise NotReady."""

    async def stop(self) -> None:
        """Close everything, also after a failed start; no call is in progress."""


@dataclass(frozen=True)
class RunningServer:
    """The ports of a running server.

    Attributes:
        port: Port of the gRPC server.
        metrics_port: Port of the Prometheus metrics.
    """

    port: int
    metrics_port: int


@asynccontextmanager
async def running(service: Service, settings: ServerSettings, metrics: Metrics) -> AsyncIterator[RunningServer]:
    """Serve while the body runs: it starts once the service is SERVING; afterwards the server drains and stops.

    Raises:
        PortUnavailable: A port is taken, or the host is not this machine's.
        ShortlistError: The service could not start, or a certificate cannot be used.
    """
    tls = _server_tls(settings, metrics)
    server = grpc.aio.server(interceptors=[CallInterceptor(metrics)], options=_OPTIONS)
    health_service = _register(server, service)
    port = _bind(server, settings, tls)
    with _metrics_server(settings, metrics, tls) as metrics_port:
        await server.start()
        try:
            await service.start()
            await health_service.set_serving()
            yield RunningServer(port, metrics_port)
        finally:
            await health_service.drain()
            await server.stop(settings.drain_timeout_s)
            await service.stop()


def run(service: Service, settings: ServerSettings, metrics: Metrics) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code: 0 if drained, 1 if the service cannot serve.

    A second signal ends the process at once.
    """
    try:
        event_loop.run(_serve_until_signalled(service, settings, metrics))
    except (PortUnavailable, ShortlistError) as error:
        _log.error(f"cannot serve: {error}")
        return 1
    _log.info("drained")
    return 0


async def _serve_until_signalled(service: Service, settings: ServerSettings, metrics: Metrics) -> None:
    _cancel_on_signals()
    try:
        async with running(service, settings, metrics) as server:
            freeze_heap()
            _log.info("serving", host=settings.host, port=server.port, metrics_port=server.metrics_port)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        return


def _cancel_on_signals() -> None:
    """Make the first signal cancel the calling task, whether it loads or serves, and the second end the process."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    received: list[int] = []

    def stop(number: int) -> None:
        if received:
            os._exit(128 + number)  # computing threads cannot be stopped in any other way
        received.append(number)
        _log.info("draining", signal=signal.Signals(number).name)
        if task is not None:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


def _register(server: grpc.aio.Server, service: Service) -> HealthService:
    health_service = HealthService(service.names)
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    service.register(server)
    reflection.enable_server_reflection([*service.names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    return health_service


def _server_tls(settings: ServerSettings, metrics: Metrics) -> ServerTls | None:
    files = settings.tls()
    if files is None:
        return None
    tls = ServerTls(files)
    metrics.watch_certificate(tls.not_after_s)
    return tls


def _bind(server: grpc.aio.Server, settings: ServerSettings, tls: ServerTls | None) -> int:
    address = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
    try:
        if tls is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, tls.grpc_credentials())
    except RuntimeError as error:
        raise PortUnavailable(_unavailable(address, "--port")) from error


@contextmanager
def _metrics_server(settings: ServerSettings, metrics: Metrics, tls: ServerTls | None) -> Iterator[int]:
    with ExitStack() as serving:
        try:
            port = serving.enter_context(metrics_server(settings.host, settings.metrics_port, metrics.registry, tls))
        except OSError as error:
            raise PortUnavailable(_unavailable(f"{settings.host}:{settings.metrics_port}", "--metrics-port")) from error
        yield port


def _unavailable(address: str, flag: str) -> str:
    return f"{address} cannot be used: it is taken or not an address of this machine; set another with {flag} or --host"

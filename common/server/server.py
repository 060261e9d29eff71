"""The lifecycle of a gRPC server: listen, load, serve, drain.

The port is bound before the service loads, so health checks are answered (NOT_SERVING) from the start. On SIGTERM the
health becomes NOT_SERVING, then the server refuses new calls and finishes those in progress.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
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
from common.server.call import CallLimits
from common.server.health import HasDependencies, HealthService
from common.server.interceptors import CallInterceptor
from common.server.lifecycle import open_calls
from common.server.lifecycle.grpc_server import Bind, GrpcServer, PortUnavailable, unavailable
from common.server.lifecycle.idle_memory import memory_returned_when_idle
from common.server.lifecycle.tracing import tracing
from common.server.metrics_server import metrics_server
from common.server.settings import ServerSettings
from common.server.telemetry import Metrics

_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # else two servers can share a port without an error
    # gRPC cancels what exceeds its own queue; the interceptor answers RESOURCE_EXHAUSTED with RetryInfo.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    # It would refuse streams within the limit while finished ones are not freed: UNAVAILABLE, in no metric.
    ("grpc.http.overload_protection", 0),
    open_calls.OPTION,
    # Shorter than the ping interval of common.server.channel; else its connections are closed for too many pings.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

# How long a drain waits for callers to read finished answers, and for ended calls to say so.
_UNREAD_S: Final = 1.0
_CUT_OFF_S: Final = 0.25
_DRAIN_POLL_S: Final = 0.05
# How long a drain waits at most for calls that gRPC has received and not handed over.
_REFUSE_S: Final = 1.0
_REFUSE_POLL_S: Final = 0.005

__all__ = ["PortUnavailable", "RunningServer", "Service", "run", "running"]
_log = structlog.get_logger()


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
        health_port: Port of health checks in the clear; None if there is none.
    """

    port: int
    metrics_port: int
    health_port: int | None = None


@asynccontextmanager
async def running(service: Service, settings: ServerSettings, metrics: Metrics) -> AsyncIterator[RunningServer]:
    """Serve while the body runs: it starts once the service is SERVING; afterwards the server drains and stops.

    Raises:
        PortUnavailable: A port is taken, or the host is not this machine's.
        ShortlistError: The service could not start, or a file of its security cannot be used.
    """
    async with tracing(settings, metrics) as tracer:
        interceptor = CallInterceptor(
            metrics,
            settings.access_control(),
            CallLimits(settings.max_message_mb << 20, settings.max_metadata_kb << 10),
            max_open_calls=settings.max_open_calls,
            max_unsent_bytes=settings.max_unsent_mb << 20,
            tracer=tracer,
        )
        async with _serving(service, settings, metrics, interceptor) as ports:
            yield ports


@asynccontextmanager
async def _serving(
    service: Service, settings: ServerSettings, metrics: Metrics, interceptor: CallInterceptor
) -> AsyncIterator[RunningServer]:
    tls = _server_tls(settings, metrics)
    health_service = _health_service(service)

    def make() -> grpc.aio.Server:
        made = grpc.aio.server(interceptors=[interceptor], options=_options(settings))
        _register(made, service, health_service, settings)
        return made

    server = GrpcServer(make, _binder(tls), settings.host, settings.port, "--port")
    delay_s = 0.0
    async with _health_server(settings, interceptor, health_service) as health_port:
        with _metrics_server(settings, metrics, tls) as metrics_port:
            await server.start()
            try:
                await service.start()
                await health_service.set_serving()
                delay_s = settings.drain_delay_s
                async with memory_returned_when_idle(server.open_calls):
                    yield RunningServer(server.port, metrics_port, health_port)
            finally:
                await health_service.drain()
                await asyncio.sleep(delay_s)
                await _drain(server, interceptor, settings)
                await service.stop()


async def _drain(server: GrpcServer, interceptor: CallInterceptor, settings: ServerSettings) -> None:
    """Refuse new calls, and finish those in progress; those that are left at the timeout are UNAVAILABLE."""
    ends_at_s = time.monotonic() + settings.drain_timeout_s
    interceptor.drain()
    await _refuse_received(server, interceptor)
    stopping = asyncio.create_task(server.stop(max(0.0, ends_at_s - time.monotonic()) + _CUT_OFF_S))
    while not stopping.done() and time.monotonic() < ends_at_s:
        await asyncio.wait({stopping}, timeout=min(_DRAIN_POLL_S, max(0.0, ends_at_s - time.monotonic())))
        if interceptor.is_idle(unread_s=_UNREAD_S):
            break
    interceptor.end_all()
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(stopping), _CUT_OFF_S)
    await server.stop(0)
    await stopping


async def _refuse_received(server: GrpcServer, interceptor: CallInterceptor) -> None:
    """Refuse the calls that gRPC has received and not handed over; once stopped, it would cancel them."""
    ends_at_s = time.monotonic() + _REFUSE_S
    while interceptor.open_calls < server.open_calls() and time.monotonic() < ends_at_s:  # noqa: ASYNC110 - no event
        await asyncio.sleep(_REFUSE_POLL_S)


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
            _log.info(
                "serving",
                host=settings.host,
                port=server.port,
                metrics_port=server.metrics_port,
                health_port=server.health_port,
            )
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


def _health_service(service: Service) -> HealthService:
    return HealthService(service.names, service.dependencies if isinstance(service, HasDependencies) else None)


def _register(
    server: grpc.aio.Server, service: Service, health_service: HealthService, settings: ServerSettings
) -> None:
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    service.register(server)
    if settings.reflection:
        reflection.enable_server_reflection([*service.names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)


def _server_tls(settings: ServerSettings, metrics: Metrics) -> ServerTls | None:
    files = settings.tls()
    if files is None:
        return None
    tls = ServerTls(files)
    metrics.watch_certificate(tls.not_after_s)
    return tls


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    message_bytes, metadata_bytes = settings.max_message_mb << 20, settings.max_metadata_kb << 10
    age = [("grpc.max_connection_age_ms", round(1_000 * settings.max_connection_age_s))]
    return [
        *_OPTIONS,
        *(age if settings.max_connection_age_s else []),
        # Up to twice the limits, the interceptor refuses and counts; what is larger, gRPC refuses without telling us.
        ("grpc.max_receive_message_length", 2 * message_bytes),
        ("grpc.max_send_message_length", 2 * message_bytes),
        ("grpc.max_metadata_size", 2 * metadata_bytes),
        ("grpc.absolute_max_metadata_size", 4 * metadata_bytes),
        ("grpc.max_concurrent_streams", settings.max_streams),
    ]


def _binder(tls: ServerTls | None) -> Bind:
    if tls is None:
        return lambda server, address: server.add_insecure_port(address)
    return lambda server, address: server.add_secure_port(address, tls.grpc_credentials())


@asynccontextmanager
async def _health_server(
    settings: ServerSettings, interceptor: CallInterceptor, health_service: HealthService
) -> AsyncIterator[int | None]:
    """Answer health checks in the clear on a port of their own, if the settings ask for one."""
    if settings.health_port is None:
        yield None
        return

    def make() -> grpc.aio.Server:
        made = grpc.aio.server(interceptors=[interceptor], options=_OPTIONS)
        health_pb2_grpc.add_HealthServicer_to_server(health_service, made)
        return made

    server = GrpcServer(make, _binder(None), settings.host, settings.health_port, "--health-port")
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(0)


@contextmanager
def _metrics_server(settings: ServerSettings, metrics: Metrics, tls: ServerTls | None) -> Iterator[int]:
    with ExitStack() as serving:
        try:
            port = serving.enter_context(metrics_server(settings.host, settings.metrics_port, metrics.registry, tls))
        except OSError as error:
            raise PortUnavailable(unavailable(f"{settings.host}:{settings.metrics_port}", "--metrics-port")) from error
        yield port

"""One replica of a service behind the gateway: its calls, its circuit breaker, and its probes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.server.channel import answer_of
from common.server.interceptors import REQUEST_ID
from common.server.telemetry import request_id
from common.tracing.spans import child_span, current_span
from services.gateway.backends.replicas.circuit_breaker import Attempt, BreakerOptions, BreakerState, CircuitBreaker
from services.gateway.backends.stages import (
    StageFailed,
    StageOverloaded,
    StageTooSlow,
    StageUnanswered,
    StageUnavailable,
    StageUnreachable,
)

_PROBE_INTERVAL_S: Final = 0.1
_PROBE_TIMEOUT_S: Final = 1.0
_FAILURES: Final[dict[grpc.StatusCode, type[StageFailed]]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: StageTooSlow,
    grpc.StatusCode.RESOURCE_EXHAUSTED: StageOverloaded,
}
_log = structlog.get_logger()


class RequestRefused(Exception):  # noqa: N818 - named for what happened
    """The service refused the request as invalid; the message is the service's own."""


class Replica:
    """One replica.

    Args:
        service: The service's name, for messages.
        address: The replica's address, for messages.
        channel: A channel to it.
        stub: Creates the service's stub on a channel.
        options: When its breaker opens.
        on_change: Called after each change of the breaker's state.

    Attributes:
        breaker: Its circuit breaker.
        probes: How many probes were sent.
    """

    def __init__(
        self,
        service: str,
        address: str,
        channel: grpc.aio.Channel,
        stub: Callable[[grpc.aio.Channel], Any],
        options: BreakerOptions | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.service = service
        self.address = address
        self.breaker = CircuitBreaker(options, on_change=self._state_changed)
        self.probes = 0
        self._stub = stub(channel)
        self._health: Any = health_pb2_grpc.HealthStub(channel)
        self._on_change = on_change
        self._probing: asyncio.Task[None] | None = None

    async def call(self, attempt: Attempt, method: str, request: Any, timeout_s: float) -> Any:
        """Make a call that the breaker admitted, with the request id of the current call.

        Raises:
            RequestRefused: The service refused the request as invalid.
            StageFailed: The service did not answer, or answered with an error.
        """
        with child_span(f"{self.service}/{method}", is_call=True) as span:
            if span is not None:
                span.set({"rpc.system.name": "grpc", "rpc.method": method, "server.address": self.address})
            return await self._send(attempt, method, request, timeout_s)

    async def _send(self, attempt: Attempt, method: str, request: Any, timeout_s: float) -> Any:
        try:
            response = await answer_of(getattr(self._stub, method)(request, timeout=timeout_s, metadata=_metadata()))
        except grpc.aio.AioRpcError as error:
            raise self._failure(attempt, error) from error
        except BaseException:  # above all, the caller cancelled
            self.breaker.abandon(attempt)
            raise
        self.breaker.answered(attempt)
        return response

    async def close(self) -> None:
        """End the probing; the channel stays open."""
        if self._probing is not None:
            self._probing.cancel()
            with suppress(asyncio.CancelledError):
                await self._probing

    def _failure(self, attempt: Attempt, error: grpc.aio.AioRpcError) -> Exception:
        """Report the end of a call to the breaker, and return its status as an error."""
        code, details = error.code(), error.details() or ""
        message = f"{self.service} answered {code.name}: {details}"
        # gRPC cancels calls that reach a server which has just stopped; calls that we cancel end without a status.
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            self.breaker.unreachable(attempt)
            return StageUnreachable(message)
        # Our servers send trailing metadata with every status; a timeout of this side has none.
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and not error.trailing_metadata():
            return (StageUnanswered if self.breaker.gave_up(attempt) else StageTooSlow)(message)
        self.breaker.answered(attempt)
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return RequestRefused(details)
        return _FAILURES.get(code, StageUnavailable)(message)

    def _state_changed(self, state: BreakerState) -> None:
        _log.warning("circuit breaker", backend=self.service, address=self.address, state=str(state))
        if state is BreakerState.OPEN and (self._probing is None or self._probing.done()):
            self._probing = asyncio.get_running_loop().create_task(self._probe())
        self._on_change()

    async def _probe(self) -> None:
        """Probe until an answer makes the breaker half open."""
        while self.breaker.state is BreakerState.OPEN:
            await asyncio.sleep(_PROBE_INTERVAL_S)
            self.probes += 1
            if await self._answers():
                self.breaker.probe_answered()

    async def _answers(self) -> bool:
        """Check the replica's health; a server without a health service answers too."""
        try:
            response = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED
        except Exception as error:  # noqa: BLE001 - whatever it is, an open breaker must go on probing
            _log.error("a probe failed", backend=self.service, address=self.address, reason=str(error))
            return False
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def _metadata() -> tuple[tuple[str, str], ...]:
    """Return what the replica is told of the current call: its id and its span."""
    span = current_span()
    headers = () if span is None else span.headers()
    return ((REQUEST_ID, request_id()), *headers) if request_id() else headers

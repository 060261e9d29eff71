"""The interceptor of every call of every service: id, status, metrics and log line, whatever fails.

gRPC parses requests and serialises answers outside of interceptors, where an error has no id, no count and a false
status. So this one takes over: gRPC only passes bytes, and calls the handler before the request has arrived.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError

from common.errors import InvalidRequest, NotReady, Overloaded
from common.server.access.access_control import AccessControl
from common.server.call import DEFAULT_LIMITS, REQUEST_ID, Call, CallLimits, UnsentBytes
from common.server.telemetry import Metrics
from common.tracing.spans import Tracer

__all__ = ["REQUEST_ID", "CallInterceptor", "sends_large_answers"]
F = TypeVar("F", bound=Callable[..., Any])
Handle = Callable[[Call, Any], Awaitable[Any]]


def sends_large_answers(method: F) -> F:
    """Mark a method whose answers can have megabytes: its status is recorded when the caller has read the answer.

    Other methods save a third of gRPC's work by sending answer and status in one step.
    """
    method.sends_large_answers = True  # type: ignore[attr-defined]  # functions take attributes
    return method


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Runs every call; see the module.

    Args:
        metrics: Counts the calls.
        access: Decides who may make a call, before anything of its request is read.
        limits: How large the parts of a call may be.
        max_open_calls: How many calls may be open; more are refused. Health checks and reflection always pass.
        max_unsent_bytes: How many bytes of large answers may wait for their callers to read them.
        tracer: Records the calls; None if none are.
    """

    def __init__(
        self,
        metrics: Metrics,
        access: AccessControl,
        limits: CallLimits = DEFAULT_LIMITS,
        *,
        max_open_calls: int = 2_000,
        max_unsent_bytes: int = 128 << 20,
        tracer: Tracer | None = None,
    ) -> None:
        self._metrics = metrics
        self._access = access
        self._limits = limits
        self._max_open_calls = max_open_calls
        self._tracer = tracer
        self._unsent = UnsentBytes(max_unsent_bytes)
        self._open: set[Call] = set()
        self._unlimited = 0
        self._is_draining = False

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler that runs the call, also for a method that does not exist."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return grpc.stream_unary_rpc_method_handler(self._handler(method, _unknown, is_known=False))
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(self._handler(method, _streaming(handler)))
        if getattr(handler.unary_unary, "sends_large_answers", False):
            return grpc.stream_stream_rpc_method_handler(self._handler(method, _writing(handler)))
        return grpc.stream_unary_rpc_method_handler(self._handler(method, _unary(handler)))

    @property
    def open_calls(self) -> int:
        """How many calls are open."""
        return len(self._open)

    def drain(self) -> None:
        """End calls that wait for a message of their caller, and refuse later calls, with UNAVAILABLE."""
        self._is_draining = True
        for call in [call for call in self._open if call.is_waiting]:
            call.end()

    def end_all(self) -> None:
        """End every call with UNAVAILABLE."""
        for call in list(self._open):
            call.end()

    def is_idle(self, unread_s: float) -> bool:
        """Return whether no call computes, and no answer was handed to gRPC less than ``unread_s`` ago."""
        now = time.monotonic()
        return all(call.sending_since is not None and now - call.sending_since > unread_s for call in self._open)

    def _handler(self, method: str, handle: Handle, *, is_known: bool = True) -> Callable[[Any, Any], Awaitable[Any]]:
        is_limited = not method.startswith("/grpc.")

        async def run(_: Any, context: Any) -> Any:
            call = Call(method, self._metrics, self._unsent, context, self._limits, is_known=is_known)
            if self._tracer is not None:
                call.trace(self._tracer)
            self._begin(call, context, is_limited=is_limited)
            try:
                with call.given_up():
                    call.require_legal_metadata()
                    self._require_room(is_limited=is_limited)
                    async with self._admitted(method, context, is_known=is_known):
                        answer = await handle(call, context)
            except (grpc.aio.AbortError, grpc.aio.InternalError):
                raise
            except Exception as error:  # noqa: BLE001 - any error becomes a status, with its stack trace in the log
                await call.fail(error)
            call.answered()
            return answer

        return run

    def _admitted(self, method: str, context: Any, *, is_known: bool) -> AbstractAsyncContextManager[None]:
        return self._access.admitted(method, context) if is_known else nullcontext()

    def _begin(self, call: Call, context: Any, *, is_limited: bool) -> None:
        self._open.add(call)
        self._unlimited += not is_limited
        self._metrics.in_flight.inc()

        def end(_: Any) -> None:
            self._open.discard(call)
            self._unlimited -= not is_limited
            self._metrics.in_flight.dec()
            call.close()

        context.add_done_callback(end)  # called once the status is sent, or the call cancelled

    def _require_room(self, *, is_limited: bool) -> None:
        if self._is_draining:
            raise NotReady("the server is shutting down; call another one, or again later")
        if is_limited and len(self._open) - self._unlimited > self._max_open_calls:
            raise Overloaded(f"{self._max_open_calls} calls are open; call again later")


async def _unknown(call: Call, context: Any) -> None:
    del call
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this server has no such method")


def _unary(handler: Any) -> Handle:
    """Return how to run a method with one request and one answer."""

    async def handle(call: Call, context: Any) -> bytes:
        request = _parse(handler, await call.receive())
        call.is_waiting = False
        return call.sending(_serialise(handler, await handler.unary_unary(request, context)))

    return handle


def _writing(handler: Any) -> Handle:
    """Return how to run a method with one request and one answer, which is sent before the status."""
    unary = _unary(handler)

    async def handle(call: Call, context: Any) -> None:
        await context.write(await unary(call, context))
        call.sent()

    return handle


def _streaming(handler: Any) -> Handle:
    """Return how to run a method with a stream of answers."""

    async def requests(call: Call) -> AsyncIterator[Any]:
        while (message := await call.read()) is not None:
            yield _parse(handler, message)

    async def handle(call: Call, context: Any) -> None:
        if handler.request_streaming:
            answers = handler.stream_stream(requests(call), context)
        else:
            answers = handler.unary_stream(_parse(handler, await call.receive()), context)
            call.is_waiting = False  # its service ends it
        async for answer in answers:
            await context.write(call.sending(_serialise(handler, answer)))
            call.sent()
            call.sending_since = None

    return handle


def _parse(handler: Any, message: bytes) -> Any:
    if handler.request_deserializer is None:
        return message
    try:
        return handler.request_deserializer(message)
    except DecodeError as error:  # truncated, or a string that is not UTF-8
        name = handler.request_deserializer.__self__.DESCRIPTOR.name
        raise InvalidRequest(f"the request is not a {name}: {error}; strings must be UTF-8") from error


def _serialise(handler: Any, answer: Any) -> bytes:
    if handler.response_serializer is None:
        return bytes(answer)
    serialised: bytes = handler.response_serializer(answer)
    return serialised

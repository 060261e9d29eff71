"""The interceptor of every call: request id, status, metrics and log line."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # googleapis ships no types
from grpc_status import rpc_status

from common.errors import Overloaded, ShortlistError
from common.server.telemetry import Metrics

REQUEST_ID: Final = "x-request-id"
_MAX_REQUEST_ID_CHARACTERS: Final = 128
# Checks that servers make all the time: their log lines would outnumber those of calls.
_FREQUENT: Final = ("/GetRelease", "/ReadItemTexts")
Behaviour = Callable[[Any, Any], Awaitable[Any]]
Trailing = tuple[tuple[str, str | bytes], ...]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Translates errors, measures and logs every unary call; streams (health, reflection) are passed through."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = structlog.get_logger().bind()

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Wrap the handler of a unary call."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._wrap(handler_call_details.method, handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _wrap(self, method: str, behaviour: Behaviour) -> Behaviour:
        async def answer(request: Any, context: Any) -> Any:
            call = _Call(method, self._metrics, self._log, context)
            self._metrics.in_flight.inc()
            try:
                return await call.answer(behaviour, request)
            finally:
                self._metrics.in_flight.dec()

        return answer


class _Call:
    """One call: runs it, and records its status exactly once."""

    def __init__(self, method: str, metrics: Metrics, log: Any, context: Any) -> None:
        self._method = method
        self._metrics = metrics
        self._log = log
        self._context = context
        self._call_id = _request_id(context)
        self._started = time.perf_counter()

    async def answer(self, behaviour: Behaviour, request: Any) -> Any:
        structlog.contextvars.bind_contextvars(request_id=self._call_id)  # each call is a task with its own context
        self._context.set_trailing_metadata(((REQUEST_ID, self._call_id),))
        try:
            response = await behaviour(request, self._context)
        except asyncio.CancelledError:  # the caller cancelled: nobody to answer, no error here
            self._record("CANCELLED")
            raise
        except grpc.aio.AbortError:
            self._record(_code_name(self._context))
            raise
        except Exception as error:  # noqa: BLE001 - any error becomes a status, with its stack trace in the log
            await self._fail(error)
        self._record(_code_name(self._context))
        return response

    async def _fail(self, error: Exception) -> None:
        code, message = _status_of(error)
        self._record(code.name, detail=message, error=error if code is grpc.StatusCode.INTERNAL else None)
        trailing: Trailing = ((REQUEST_ID, self._call_id),)
        if isinstance(error, Overloaded):
            trailing += _retry_info(code, message, error.retry_after_s)
        await self._context.abort(code, message, trailing)

    def _record(self, code: str, detail: str | None = None, error: Exception | None = None) -> None:
        seconds = time.perf_counter() - self._started
        self._metrics.count_call(self._method, code, seconds)
        fields = {"method": self._method, "code": code, "duration_ms": round(seconds * 1e3, 3)}
        if detail is not None:
            fields["detail"] = detail
        if error is not None:
            self._log.error("call", **fields, exc_info=error)
        elif self._method.startswith("/grpc.") or self._method.endswith(_FREQUENT):
            self._log.debug("call", **fields)
        else:
            self._log.info("call", **fields)


def _request_id(context: Any) -> str:
    """Return the caller's request id if it sent a usable one, else a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and 0 < len(value) <= _MAX_REQUEST_ID_CHARACTERS:
            return str(value)
    return f"{random.getrandbits(128):032x}"  # no secret; uuid4 would be a system call each time


def _status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, ShortlistError):
        return grpc.StatusCode[error.status], str(error)
    if isinstance(error, TimeoutError):
        return grpc.StatusCode.DEADLINE_EXCEEDED, "the work was not finished by its deadline"
    return grpc.StatusCode.INTERNAL, "internal error"


def _retry_info(code: grpc.StatusCode, message: str, retry_after_s: float) -> Trailing:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromNanoseconds(round(retry_after_s * 1e9))
    detail = AnyMessage()
    detail.Pack(info)
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    return tuple(rpc_status.to_status(status).trailing_metadata)


def _code_name(context: Any) -> str:
    """Return the name of the status that the handler set; OK if it set none."""
    code = context.code()
    if not code:
        return "OK"
    return next(status.name for status in grpc.StatusCode if code in (status, status.value[0]))

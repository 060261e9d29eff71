"""The one interceptor: every call gets an id, a status that tells the truth, a count, a duration and a log line."""

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


Behaviour = Callable[[Any, Any], Awaitable[Any]]


Trailing = tuple[tuple[str, str | bytes], ...]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Translates errors, counts and logs every unary call; streams (health, reflection) pass untouched."""

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
    """One call: runs it, and records how it ended exactly once."""

    def __init__(self, method: str, metrics: Metrics, log: Any, context: Any) -> None:
        self._method = method
        self._metrics = metrics
        self._log = log
        self._context = context
        self._call_id = _request_id(context)
        self._started = time.perf_counter()

    async def answer(self, behaviour: Behaviour, request: Any) -> Any:
        structlog.contextvars.bind_contextvars(request_id=self._call_id)  # each call is a task, with a context its own
        self._context.set_trailing_metadata(((REQUEST_ID, self._call_id),))
        try:
            response = await behaviour(request, self._context)
        except asyncio.CancelledError:  # the caller is gone: nobody to tell, nothing wrong here
            self._record("CANCELLED")
            raise
        except grpc.aio.AbortError:
            self._record(_code_name(self._context))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status and the log its stack
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
        self._metrics.finished(self._method, code, seconds)
        fields = {"method": self._method, "code": code, "duration_ms": round(seconds * 1e3, 3)}
        if detail is not None:
            fields["detail"] = detail
        if error is not None:
            self._log.error("call", **fields, exc_info=error)
        elif self._method.startswith("/grpc.") or self._method.endswith("/GetRelease"):  # looks would drown the calls
            self._log.debug("call", **fields)
        else:
            self._log.info("call", **fields)


def _request_id(context: Any) -> str:
    """Return the caller's id for the call where it gave a usable one, else a new one."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID and 0 < len(value) <= _MAX_REQUEST_ID_CHARACTERS:
            return str(value)
    return f"{random.getrandbits(128):032x}"  # no secret; uuid4 would ask the kernel in every call


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
    """Return the name of the status that the handler set; OK where it set none."""
    code = context.code()
    if not code:
        return "OK"
    return next(known.name for known in grpc.StatusCode if code in (known, known.value[0]))

"""One call on a server: its id, its status, its bytes that are not sent yet, and its one record."""

from __future__ import annotations

import asyncio
import contextvars
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # googleapis ships no types
from grpc_status import rpc_status

from common.errors import InvalidRequest, NotReady, Overloaded, ShortlistError, TooLarge
from common.server.channel import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES
from common.server.event_loop import uninterrupted
from common.server.telemetry import Metrics
from common.text import cut_middle
from common.tracing.call_span import CallSpan
from common.tracing.spans import Tracer

REQUEST_ID: Final = "x-request-id"
# Visible ASCII: other characters are not legal in the metadata of the answer.
_USABLE_ID: Final = re.compile(r"[!-~]{1,128}")
# Trailing metadata of more than 8 KiB are refused by most clients. A message is sent percent-encoded (up to three times
# its bytes), and again in the details of RetryInfo.
_MAX_MESSAGE_CHARACTERS: Final = 500
_MAX_METHOD_CHARACTERS: Final = 200
# Answers up to this size are in the socket's buffers as soon as they are written (gRPC's write buffer).
_BUFFERED_BYTES: Final = 64 << 10
# How long after the end of the caller's stream its cancellation may arrive.
_CANCELLATION_DELAY_S: Final = 0.02
Trailing = tuple[tuple[str, str | bytes], ...]
_log: Final = structlog.get_logger()


@dataclass(frozen=True)
class CallLimits:
    """How large the parts of a call may be, in bytes.

    Attributes:
        max_message_bytes: A request or an answer.
        max_metadata_bytes: The metadata of the caller, with 32 bytes for each entry.
    """

    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_metadata_bytes: int = MAX_METADATA_BYTES


DEFAULT_LIMITS: Final = CallLimits()


class UnsentBytes:
    """The bytes of answers that callers have not read yet, bounded in all and for one connection.

    Args:
        max_bytes: The bound in all; one connection may have a quarter of it, and at least one answer.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._by_peer: Counter[str] = Counter()
        self.total = 0

    def require_room(self, peer: str, size: int = 1) -> None:
        """Raise Overloaded if an answer of ``size`` bytes exceeds a bound."""
        mine = self._by_peer.get(peer, 0)
        if self.total + size > self._max_bytes or (mine and mine + size > self._max_bytes // 4):
            raise Overloaded(
                f"{self.total} bytes of answers are unread, {mine} of them on this connection; read them first",
                retry_after_s=1.0,
            )

    def add(self, peer: str, size: int) -> None:
        """Count an answer that is being sent."""
        self.total += size
        self._by_peer[peer] += size

    def remove(self, peer: str, size: int) -> None:
        """Count an answer as sent or given up."""
        self.total -= size
        self._by_peer[peer] -= size
        if self._by_peer[peer] <= 0:
            del self._by_peer[peer]


class Call:
    """A call from its first byte to the last byte of its answer; recorded exactly once.

    Attributes:
        is_waiting: Whether it waits for a message of its caller: a drain ends it at once.
        sending_since: When its answer was handed to gRPC (monotonic seconds); None before.
    """

    def __init__(
        self,
        method: str,
        metrics: Metrics,
        unsent: UnsentBytes,
        context: Any,
        limits: CallLimits = DEFAULT_LIMITS,
        *,
        is_known: bool,
    ) -> None:
        self._method = method
        self._label = method if is_known else "unknown"
        self._metrics = metrics
        self._unsent = unsent
        self._context = context
        self._limits = limits
        self._metadata: tuple[tuple[str, str | bytes], ...] = tuple(context.invocation_metadata() or ())
        self._id = _request_id(self._metadata)
        self._started = time.perf_counter()
        self._task = asyncio.current_task()
        self._is_recorded = False
        self._ended_by_server = False
        self._unsent_bytes = 0
        self._peer = ""
        self._log_context: contextvars.Context | None = None
        self._span: CallSpan | None = None
        self.is_waiting = True
        self.sending_since: float | None = None
        structlog.contextvars.bind_contextvars(request_id=self._id)  # each call is a task with its own context
        context.set_trailing_metadata(((REQUEST_ID, self._id),))

    def trace(self, tracer: Tracer) -> None:
        """Make a span of it; frequent calls of the servers themselves have none."""
        if not _is_frequent(self._method):
            self._span = CallSpan(tracer, self._label, self._metadata)

    def end(self) -> None:
        """End it from outside, because the server drains: it answers UNAVAILABLE."""
        self._ended_by_server = True
        if self._task is not None:
            self._task.cancel()

    def require_legal_metadata(self) -> None:
        """Raise TooLarge for metadata beyond the limit."""
        size = sum(len(key) + len(value) + 32 for key, value in self._metadata)  # as HTTP/2 counts them
        if size > self._limits.max_metadata_bytes:
            raise TooLarge(
                f"the call's metadata have {size} bytes; at most {self._limits.max_metadata_bytes} are accepted"
            )

    async def receive(self) -> bytes:
        """Return the bytes of the request; raises InvalidRequest if there are none, TooLarge if too many."""
        message = await self.read()
        if message is None:
            raise InvalidRequest("the call has no message; send one request")
        return message

    async def read(self) -> bytes | None:
        """Return the bytes of the caller's next message, None after the last; raises TooLarge."""
        message = await uninterrupted(self._context.read())
        if not isinstance(message, bytes):
            await asyncio.sleep(_CANCELLATION_DELAY_S)  # the end may be that of a cancelled call
            return None
        if len(message) > self._limits.max_message_bytes:
            raise TooLarge(
                f"the request has {len(message)} bytes; at most {self._limits.max_message_bytes} are accepted"
            )
        return message

    def sending(self, answer: bytes) -> bytes:
        """Count an answer that is handed to gRPC next; raises TooLarge or Overloaded."""
        if len(answer) > self._limits.max_message_bytes:
            raise TooLarge(
                f"the answer has {len(answer)} bytes, more than {self._limits.max_message_bytes}; ask for fewer items"
            )
        if len(answer) > _BUFFERED_BYTES:
            self._peer = self._context.peer()
            self._unsent.require_room(self._peer, len(answer))
            self._unsent.add(self._peer, len(answer))
            self._unsent_bytes += len(answer)
        self.sending_since = time.monotonic()
        return answer

    def sent(self) -> None:
        """Count what was sent as sent."""
        if self._unsent_bytes:
            self._unsent.remove(self._peer, self._unsent_bytes)
            self._unsent_bytes = 0

    def answered(self) -> None:
        """Record the status now, or once a large answer is sent."""
        if self._unsent_bytes:
            self._log_context = contextvars.copy_context()
        else:
            self._record(_code_name(self._context))

    def close(self) -> None:
        """Record what is not recorded yet; gRPC is through with the call."""
        self.sent()
        if not self._is_recorded:
            code = "DEADLINE_EXCEEDED" if self._is_late() else _code_name(self._context)
            (self._log_context or contextvars.copy_context()).run(self._record, code)

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Record a call that ends in the body without an answer: cancelled by its caller, its deadline or the drain."""
        try:
            yield
        except grpc.aio.AbortError:
            self._record(_code_name(self._context))
            raise
        except asyncio.CancelledError:
            if self._ended_by_server:
                raise NotReady("the server is shutting down; call another one, or again later") from None
            self._record("DEADLINE_EXCEEDED" if self._is_late() else "CANCELLED")
            raise
        except grpc.aio.InternalError:  # gRPC could not send: the caller is gone
            self._record("DEADLINE_EXCEEDED" if self._is_late() else "CANCELLED")
            raise

    async def fail(self, error: Exception) -> NoReturn:
        """Answer with the status of an error."""
        code, text = _status_of(error)
        message = cut_middle(text, _MAX_MESSAGE_CHARACTERS)
        self._record(code.name, detail=message, error=error if code is grpc.StatusCode.INTERNAL else None)
        trailing: Trailing = ((REQUEST_ID, self._id),)
        if isinstance(error, Overloaded):
            trailing += _retry_info(code, message, error.retry_after_s)
        await self._context.abort(code, message, trailing)
        raise AssertionError("abort raises")

    def _is_late(self) -> bool:
        remaining = self._context.time_remaining()
        return remaining is not None and remaining <= 0

    def _record(self, code: str, detail: str | None = None, error: Exception | None = None) -> None:
        if self._is_recorded:
            return
        self._is_recorded = True
        seconds = time.perf_counter() - self._started
        self._metrics.count_call(self._label, code, seconds, "" if self._span is None else self._span.end(code))
        method = cut_middle(self._method, _MAX_METHOD_CHARACTERS)
        fields = {"method": method, "code": code, "duration_ms": round(seconds * 1e3, 3)}
        if detail is not None:
            fields["detail"] = detail
        if error is not None:
            _log.error("call", **fields, exc_info=error)
        elif code in ("OK", "CANCELLED") and _is_frequent(self._method):
            _log.debug("call", **fields)
        else:
            _log.info("call", **fields)


def _is_frequent(method: str) -> bool:
    """Return whether it is a health or release check, which would outnumber the other calls in the log."""
    return method.startswith("/grpc.") or method.endswith(("/GetRelease", "/ReadItemTexts"))


def _request_id(metadata: tuple[tuple[str, str | bytes], ...]) -> str:
    """Return the caller's request id if it sent a usable one, else a new one."""
    for key, value in metadata:
        if key == REQUEST_ID and isinstance(value, str) and _USABLE_ID.fullmatch(value):
            return value
    return f"{random.getrandbits(128):032x}"  # no secret; uuid4 is a system call  # nosec B311


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

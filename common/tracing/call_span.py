"""The span of a call on the server that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from common.tracing.spans import Tracer, set_current_span

# The other codes are faults of the caller (OpenTelemetry's semantic conventions of gRPC servers).
_SERVER_FAULTS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)


class CallSpan:
    """The current span of a call's task; the call's log lines name its trace if it is sampled.

    Args:
        tracer: The server's tracer.
        method: The full method, or `unknown`.
        metadata: The caller's metadata, which may name the span that the call belongs to.
    """

    def __init__(self, tracer: Tracer, method: str, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        self._method = method.lstrip("/")
        self._span = tracer.start_call(self._method, metadata)
        set_current_span(self._span)
        if self._span.is_recorded:
            structlog.contextvars.bind_contextvars(trace_id=self._span.trace_id)

    def end(self, code: str) -> str:
        """End it with a status; returns the trace to attach to the call's duration, "" if it is not sampled."""
        if not self._span.is_recorded:
            return ""
        self._span.set({"rpc.system.name": "grpc", "rpc.method": self._method, "rpc.response.status_code": code})
        self._span.end(code if code in _SERVER_FAULTS else "")
        return self._span.trace_id

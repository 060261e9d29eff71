"""The span of the current call, and spans below it; OpenTelemetry is not imported here.

While tracing is off no call has a span, and what stays of it is one look at a context variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Protocol, Self

# What a span may tell: names, counts, statuses. Never ids of users, words of queries, or histories.
Attributes = Mapping[str, str | int | float | bool | Sequence[str]]
Headers = tuple[tuple[str, str], ...]


class Span(Protocol):
    """A step of a call. It may be used from any thread."""

    @property
    def is_recorded(self) -> bool:
        """Whether it is sampled; if not, all it does is to tell the next server so."""

    @property
    def trace_id(self) -> str:
        """The trace in 32 hexadecimal digits."""

    def headers(self) -> Headers:
        """Return the metadata that pass it on to another server (W3C Trace Context)."""

    def child(self, name: str, *, is_call: bool = False) -> Self:
        """Start a step below it.

        Args:
            name: The step.
            is_call: Whether the step is a call of another server.
        """

    def linked(self, name: str, others: Sequence[Span], seconds: float) -> Self:
        """Start the span of work done for several calls at once, as a trace of its own, linked with each of them.

        Args:
            name: The work.
            others: The spans of the other calls.
            seconds: How long ago the work began.
        """

    def set(self, attributes: Attributes) -> None:
        """Add what the step is about."""

    def end(self, error: str = "") -> None:
        """End it, as failed if the error has a name."""


class SpanCounts:
    """How many spans were recorded, sent, and refused by the collector; the rest waits or was dropped."""

    def __init__(self) -> None:
        self.recorded = 0
        self.sent = 0
        self.failed = 0


class Tracer(Protocol):
    """Records the calls of one server."""

    def start_call(self, method: str, metadata: Sequence[tuple[str, str | bytes]]) -> Span:
        """Start the span of a call that arrived, below that of its caller if the metadata name one."""

    def close(self) -> None:
        """Send what is recorded; takes a few seconds at most."""


_current: Final[ContextVar[Span | None]] = ContextVar("span", default=None)


def set_current_span(span: Span) -> None:
    """Make a span the current one of this task and of the tasks that it starts."""
    _current.set(span)


def current_span() -> Span | None:
    """Return the span of the current call or step; None while tracing is off."""
    return _current.get()


def recorded_span() -> Span | None:
    """Return the current span if it is sampled, else None."""
    span = _current.get()
    return span if span is not None and span.is_recorded else None


def child_span(name: str, *, is_call: bool = False) -> AbstractContextManager[Span | None]:
    """Return a context manager that records its body as a step below the current span; see `Span.child`.

    It yields the step's span; None if nothing is recorded. A body that raises is an error.
    """
    parent = recorded_span()
    return _NO_SPAN if parent is None else _Step(parent.child(name, is_call=is_call))


class _Step:
    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._token = _current.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        self._span.end("" if kind is None else kind.__name__)


_NO_SPAN: Final[AbstractContextManager[None]] = nullcontext()

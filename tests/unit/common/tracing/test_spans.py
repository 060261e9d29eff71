"""The current span and the steps below it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable

import pytest

from common.tracing.spans import child_span, current_span, recorded_span, set_current_span


class NotedSpan:
    """A span that notes its steps and their errors."""

    trace_id = "t"

    def __init__(self, ended: list[tuple[str, str]], name: str = "call", *, is_recorded: bool = True) -> None:
        self._ended = ended
        self._name = name
        self.is_recorded = is_recorded

    def child(self, name: str, *, is_call: bool = False) -> NotedSpan:
        """Start a step."""
        del is_call
        return NotedSpan(self._ended, f"{self._name}/{name}")

    def end(self, error: str = "") -> None:
        """Note the end."""
        self._ended.append((self._name, error))


@pytest.fixture
def ended() -> list[tuple[str, str]]:
    return []


def run_with(span: NotedSpan, body: Callable[[], None]) -> None:
    """Run something in a context of its own whose current span is the given one."""

    def run() -> None:
        set_current_span(span)
        body()
        assert current_span() is span

    contextvars.copy_context().run(run)


def test_without_a_call_there_is_no_span_and_no_new_object():
    """While tracing is off, every step shares one context manager that does nothing."""
    assert child_span("a") is child_span("b")
    with child_span("a") as span:
        assert span is None
    assert current_span() is None


def test_steps_nest(ended: list[tuple[str, str]]):
    """A step within a step is below it, and the call's span is current again afterwards."""

    def body() -> None:
        with child_span("outer"), child_span("inner"):
            pass

    run_with(NotedSpan(ended), body)
    assert ended == [("call/outer/inner", ""), ("call/outer", "")]


def test_a_step_that_raises_is_an_error(ended: list[tuple[str, str]]):
    """The error goes on, and its class is the name: a message could quote the request."""

    def body() -> None:
        with pytest.raises(KeyError), child_span("step"):
            raise KeyError("ada")

    run_with(NotedSpan(ended), body)
    assert ended == [("call/step", "KeyError")]


def test_an_unsampled_call_has_no_steps(ended: list[tuple[str, str]]):
    """Its span is only passed on."""

    def body() -> None:
        assert recorded_span() is None
        assert current_span() is not None
        with child_span("step") as span:
            assert span is None

    run_with(NotedSpan(ended, is_recorded=False), body)
    assert ended == []

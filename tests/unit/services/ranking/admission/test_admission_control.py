"""Admission control of the second stage."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import DeadlineTooShort, Overloaded
from services.ranking.admission.admission_control import AdmissionControl
from services.ranking.admission.time_budget import StepTimes
from services.ranking.request import CallContext, Priority


@pytest.fixture
def checked() -> list[tuple[CallContext, int]]:
    """The calls that the pair scorer was to have room for, and how many pairs were promised to others."""
    return []


@pytest.fixture
def times() -> StepTimes:
    """The features of 100 candidates take 10 seconds, and nothing is kept back for the answer."""
    times = StepTimes()
    times.features.observe(100, 10.0)
    times.after_reading.seconds = 0.0
    return times


@pytest.fixture
def admission(times: StepTimes, checked: list[tuple[CallContext, int]]) -> Any:
    """Admission control for two feature threads."""
    scorer: Any = SimpleNamespace(check_room=lambda call, promised: checked.append((call, promised)))
    return AdmissionControl(2, times, scorer)


def _within(seconds: float, min_pairs: int = 0, priority: Priority = Priority.INTERACTIVE) -> CallContext:
    return CallContext(time.monotonic() + seconds, priority, min_pairs=min_pairs)


def test_a_call_with_enough_time_is_admitted(
    admission: AdmissionControl, times: StepTimes, checked: list[tuple[CallContext, int]]
):
    """If nobody waits and the features fit, only the pairs that a call needs must fit between features and answer."""
    budget = admission.admit(100, _within(1_000.0))
    assert budget.features_s == pytest.approx(10.0)
    assert not checked
    times.after_reading.observe(2.0)
    call = _within(1_000.0, min_pairs=7)
    admission.admit(100, call)
    assert checked == [(replace(call, deadline=pytest.approx(call.deadline - 12.0)), 0)]


def test_pairs_of_calls_in_their_features_are_promised(
    admission: AdmissionControl, checked: list[tuple[CallContext, int]]
):
    """Pairs that calls in their features need are not there for other calls, except for more urgent ones."""
    with (
        admission.computing_features(_within(1_000.0, min_pairs=5)),
        admission.computing_features(_within(1_000.0, 3, Priority.BATCH)),
    ):
        for call in (
            _within(2_000.0, 1),
            _within(2_000.0, 1, Priority.BATCH),
            _within(500.0, 1),
            _within(500.0, 1, Priority.BATCH),
        ):
            admission.admit(100, call)
    admission.admit(100, _within(2_000.0, min_pairs=1))
    assert [promised for _, promised in checked] == [5, 8, 0, 5, 0]


def test_a_call_without_time_for_its_features_is_refused(admission: AdmissionControl):
    """100 candidates take 10 seconds; 20 take a fifth of that, counted as 50."""
    with pytest.raises(DeadlineTooShort, match="even without the cross-encoder"):
        admission.admit(100, _within(9.0))
    admission.admit(20, _within(9.0))


def test_a_call_that_would_wait_long_for_its_features_is_refused(admission: AdmissionControl):
    """Four calls on two threads are two rounds of 10 seconds: too much of a minute, little of an hour."""
    with ExitStack() as others:
        for _ in range(4):
            others.enter_context(admission.computing_features(_within(60.0)))
        with pytest.raises(Overloaded, match="4 calls wait") as refused:
            admission.admit(100, _within(60.0))
        assert refused.value.retry_after_s == pytest.approx(20.0)
        admission.admit(100, _within(3_600.0))
    admission.admit(100, _within(60.0))

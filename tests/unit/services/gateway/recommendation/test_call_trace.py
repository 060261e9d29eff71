"""The trace of one call."""

from __future__ import annotations

import time

import pytest

from services.gateway.recommendation.call_trace import CallTrace
from services.gateway.recommendation.deadline import Deadline
from services.gateway.recommendation.result import DegradationKind


def test_stages_are_timed_even_if_they_fail():
    """A stage that raises is timed like any other, and the total comes at the end."""
    trace = CallTrace(Deadline(time.monotonic() + 60, 0.02))
    with pytest.raises(TimeoutError), trace.time_stage("retrieval"):
        raise TimeoutError
    with trace.time_stage("policy"):
        pass
    trace.finish()
    assert list(trace.timings_ms) == ["retrieval", "policy", "total"]
    assert trace.timings_ms["total"] >= trace.timings_ms["retrieval"] >= 0


def test_lateness_is_measured_from_the_end_of_the_stages():
    """A call is late once only the reserve is left, and overdue once its deadline has passed."""
    in_time = CallTrace(Deadline(time.monotonic() + 60, 1.0))
    late = CallTrace(Deadline(time.monotonic() + 60, 61.0))
    overdue = CallTrace(Deadline(time.monotonic() - 1, 0.0))
    assert (in_time.lateness_s() < 0, in_time.is_overdue()) == (True, False)
    assert (late.lateness_s() > 0, late.is_overdue()) == (True, False)
    assert (overdue.lateness_s() >= 1, overdue.is_overdue()) == (True, True)
    assert late.timeout_s(1.0) == 0.0


def test_degradations_keep_their_order():
    """Degradations are recorded in the order in which they happen."""
    trace = CallTrace(Deadline(time.monotonic() + 60, 0.02))
    trace.add_degradation(DegradationKind.PROFILE_UNAVAILABLE, "first")
    trace.add_degradation(DegradationKind.RANKING_TOO_SLOW, "second")
    assert [degradation.detail for degradation in trace.degradations] == ["first", "second"]

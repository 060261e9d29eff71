"""The door of the second stage."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import DeadlineTooShort, Overloaded
from common.latency import LatencyEstimate
from services.ranking.admission.admission_control import AdmissionControl
from services.ranking.batching.job import CallContext, Priority


@pytest.fixture
def insisted() -> list[tuple[CallContext, int]]:
    """On whose terms the reader was asked for room, and beside how many promised pairs."""
    return []


@pytest.fixture
def door(insisted: list[tuple[CallContext, int]]) -> Any:
    """A door before two threads; the features of 100 candidates take 10 seconds."""
    pace = LatencyEstimate()
    pace.observe(100, 10.0)
    return AdmissionControl(
        2, pace, SimpleNamespace(check_room=lambda terms, promised: insisted.append((terms, promised)))
    )


def _within(seconds: float, least: int = 0, priority: Priority = Priority.INTERACTIVE) -> CallContext:
    return CallContext(time.monotonic() + seconds, priority, least=least)


def test_calls_with_time_enough_are_let_in(door: AdmissionControl, insisted: list[tuple[CallContext, int]]):
    """Nobody waits and the features fit; the pairs that a call insists on must fit between these and its answer."""
    door.check(100, _within(1_000.0), 0.0)
    assert not insisted
    terms = _within(1_000.0, least=7)
    door.check(100, terms, 2.0)
    assert insisted == [(replace(terms, deadline=pytest.approx(terms.deadline - 12.0)), 0)]


def test_pairs_of_calls_on_their_way_are_promised(door: AdmissionControl, insisted: list[tuple[CallContext, int]]):
    """What those insist on whose features are being computed is not there for others, but for those who go first."""
    with door.passing(_within(1_000.0, least=5)), door.passing(_within(1_000.0, 3, Priority.BATCH)):
        for terms in (
            _within(2_000.0, 1),
            _within(2_000.0, 1, Priority.BATCH),
            _within(500.0, 1),
            _within(500.0, 1, Priority.BATCH),
        ):
            door.check(100, terms, 0.0)
    door.check(100, _within(2_000.0, least=1), 0.0)
    assert [promised for _, promised in insisted] == [5, 8, 0, 5, 0]


def test_no_time_for_the_features_is_refused(door: AdmissionControl):
    """100 candidates take 10 seconds, 20 a fifth of it but no less than 50 do."""
    with pytest.raises(DeadlineTooShort, match="even without the cross-encoder"):
        door.check(100, _within(9.0), 0.0)
    door.check(20, _within(9.0), 0.0)


def test_calls_that_would_wait_long_for_their_features_are_refused(door: AdmissionControl):
    """Four calls before two threads are two rounds of 10 seconds: too much of a minute, little of an hour."""
    with ExitStack() as others:
        for _ in range(4):
            others.enter_context(door.passing(_within(60.0)))
        with pytest.raises(Overloaded, match="4 calls wait") as refused:
            door.check(100, _within(60.0), 0.0)
        assert refused.value.retry_after_s == pytest.approx(20.0)
        door.check(100, _within(3_600.0), 0.0)
    door.check(100, _within(60.0), 0.0)

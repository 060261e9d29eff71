"""The door of the second stage."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import DeadlineTooShort, Overloaded
from services.ranking.door import Door
from services.ranking.pace import Pace
from services.ranking.pair_reader import Terms


@pytest.fixture
def insisted() -> list[Terms]:
    """On whose terms the reader was asked for room."""
    return []


@pytest.fixture
def door(insisted: list[Terms]) -> Any:
    """A door before two threads; the features of 100 candidates take 10 seconds."""
    pace = Pace()
    pace.observe(100, 10.0)
    return Door(2, pace, SimpleNamespace(check_room=insisted.append))


def _within(seconds: float) -> Terms:
    return Terms(time.monotonic() + seconds)


def test_calls_with_time_enough_are_let_in(door: Door, insisted: list[Terms]):
    """Nobody waits and the features fit: what is left to ask is whether the pairs fit."""
    terms = _within(1_000.0)
    door.check(100, terms)
    assert insisted == [terms]


def test_no_time_for_the_features_is_refused(door: Door):
    """100 candidates take 10 seconds, 20 a fifth of it but no less than 50 do."""
    with pytest.raises(DeadlineTooShort, match="even without the cross-encoder"):
        door.check(100, _within(9.0))
    door.check(20, _within(9.0))


def test_calls_that_would_wait_long_for_their_features_are_refused(door: Door):
    """Four calls before two threads are two rounds of 10 seconds: too much of a minute, little of an hour."""
    with ExitStack() as others:
        for _ in range(4):
            others.enter_context(door.passing())
        with pytest.raises(Overloaded, match="4 calls wait") as refused:
            door.check(100, _within(60.0))
        assert refused.value.retry_after_s == pytest.approx(20.0)
        door.check(100, _within(3_600.0))
    door.check(100, _within(60.0))

"""`ef_search` gives way where answers come late."""

from __future__ import annotations

import math

import pytest

from services.retrieval.effort import Effort


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def period(effort: Effort, clock: Clock, *, late: int, answers: int = 100) -> int:
    """Let half a second pass with some answers late; returns the value in force afterwards."""
    for number in range(answers):
        if number == answers - 1:
            clock.now += 0.5
        effort.observe(0.02 if number < late else 0.001)
    return effort.ef_search


def test_it_sheds_fast_and_recovers_slowly(clock: Clock):
    """A missed target takes a fifth off at once, down to the least; each period in time gives a fiftieth back."""
    told: list[int] = []
    effort = Effort(200, 100, 0.01, told.append, clock)
    assert [period(effort, clock, late=50) for _ in range(5)] == [160, 128, 102, 100, 100]
    assert [period(effort, clock, late=5) for _ in range(3)] == [104, 108, 112]
    assert told == [160, 128, 102, 100, 104, 108, 112]
    for _ in range(50):
        period(effort, clock, late=0)
    assert effort.ef_search == 200


def test_a_few_answers_decide_nothing(clock: Clock):
    """A handful of late answers is no load."""
    effort = Effort(200, 100, 0.01, lambda _: None, clock)
    assert period(effort, clock, late=10, answers=10) == 200


def test_without_a_target_nothing_is_shed(clock: Clock):
    """An infinite target is never missed."""
    effort = Effort(200, 100, math.inf, lambda _: pytest.fail("was changed"), clock)
    assert period(effort, clock, late=100) == 200

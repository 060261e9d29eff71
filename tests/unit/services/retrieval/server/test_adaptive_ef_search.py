"""`ef_search` gives way where answers come late."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from services.retrieval.server.adaptive_ef_search import AdaptiveEfSearch


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def period(effort: AdaptiveEfSearch, clock: Clock, *, late: int, answers: int = 100) -> int:
    """Let half a second pass with some answers late; returns the value in force afterwards."""
    for number in range(answers):
        if number == answers - 1:
            clock.now += 0.5
        effort.observe(0.02 if number < late else 0.001)
    return effort.ef_search


def test_it_sheds_fast_and_recovers_slowly(clock: Clock):
    """A missed target takes a fifth off at once, down to the least; each period in time gives a fiftieth back."""
    told: list[int] = []
    effort = AdaptiveEfSearch(200, 100, 0.01, told.append, clock)
    assert [period(effort, clock, late=50) for _ in range(5)] == [160, 128, 102, 100, 100]
    assert [period(effort, clock, late=5) for _ in range(3)] == [104, 108, 112]
    assert told == [160, 128, 102, 100, 104, 108, 112]
    for _ in range(50):
        period(effort, clock, late=0)
    assert effort.ef_search == 200


def test_a_few_answers_decide_nothing(clock: Clock):
    """A handful of late answers is no load."""
    effort = AdaptiveEfSearch(200, 100, 0.01, lambda _: None, clock)
    assert period(effort, clock, late=10, answers=10) == 200


def test_without_a_target_nothing_is_shed(clock: Clock):
    """An infinite target is never missed."""
    effort = AdaptiveEfSearch(200, 100, math.inf, lambda _: pytest.fail("was changed"), clock)
    assert period(effort, clock, late=100) == 200


FULL, LEAST, TARGET_S = 250, 50, 0.01


# A search costs so much whatever the effort, and so much for each entry of the candidate list.
FIXED_S, ENTRY_S = 0.0005, 0.000006


def simulate(effort: AdaptiveEfSearch, clock: Clock, rates: Sequence[float], seed: int = 1) -> list[tuple[int, float]]:
    """Let one searcher answer what comes in, each second at another rate.

    Returns:
        For each second the effort at its end, and the share of its answers that took longer than the target.
    """
    generator, free_at, told = np.random.default_rng(seed), 0.0, []
    for rate in rates:
        second = math.floor(clock.now + 1e-9)
        arrivals = second + np.sort(generator.random(generator.poisson(rate)))
        late = []
        for arrival in arrivals.tolist():
            free_at = max(free_at, arrival) + FIXED_S + ENTRY_S * effort.ef_search
            late.append(free_at - arrival > TARGET_S)
            clock.now = free_at
            effort.observe(free_at - arrival)
        clock.now = max(clock.now, second + 1.0)
        told.append((effort.ef_search, float(np.mean(late))))
    return told


def test_a_surge_is_answered_in_time_with_less_effort_until_it_is_over(clock: Clock):
    """At a rate that full effort can't keep up with, effort falls until answers are in time again, and no further.

    Once the surge is over, it comes back to full, slowly.
    """
    applied: list[int] = []
    effort = AdaptiveEfSearch(FULL, LEAST, TARGET_S, applied.append, clock)
    before, surge, after = 20, 60, 60
    # Full effort answers 500 a second, an effort of 83 answers 1,000, and the least 1,250.
    trace = simulate(effort, clock, [200.0] * before + [800.0] * surge + [200.0] * after)
    assert all(value == FULL for value, _ in trace[:before])
    settled = trace[before + 5 : before + surge]
    assert all(LEAST < value < 140 for value, _ in settled)
    assert np.mean([value for value, _ in settled]) > 70
    assert np.mean([late for _, late in settled]) < 0.1
    assert trace[-1][0] == FULL
    assert applied[-1] == FULL
    # Up by a fiftieth each half second: never faster than it could tell that answers are still in time.
    recovered = next(second for second, (value, _) in enumerate(trace[before + surge :]) if value == FULL)
    assert recovered >= 15
    steps = np.diff([FULL, *applied])
    assert steps.max() == FULL // 50
    assert steps.min() <= -FULL // 5


def test_a_load_that_no_effort_answers_in_time_leaves_the_least(clock: Clock):
    """However late answers come, the graph is searched with the least effort allowed."""
    effort = AdaptiveEfSearch(FULL, LEAST, TARGET_S, lambda _: None, clock)
    trace = simulate(effort, clock, [2_000.0] * 20)
    assert trace[-1][0] == LEAST


def test_a_few_slow_answers_shed_nothing(clock: Clock):
    """Answers that are late one time in fifty, as after a pause of the machine, are within the target."""
    effort = AdaptiveEfSearch(FULL, LEAST, TARGET_S, lambda _: None, clock)
    assert [period(effort, clock, late=2) for _ in range(10)] == [FULL] * 10

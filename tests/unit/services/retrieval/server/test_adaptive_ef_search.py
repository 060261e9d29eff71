"""`ef_search` falls while responses are late, and rises slowly again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from services.retrieval.server.adaptive_ef_search import AdaptiveEfSearch


class Clock:
    """A clock that the test advances."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def period(controller: AdaptiveEfSearch, clock: Clock, *, late: int, responses: int = 100) -> int:
    """Let half a second pass with some responses late; returns the value afterwards."""
    for number in range(responses):
        if number == responses - 1:
            clock.now += 0.5
        controller.observe(0.02 if number < late else 0.001)
    return controller.ef_search


def test_it_falls_fast_and_rises_slowly(clock: Clock):
    """A missed target lowers the value by a fifth, not below the minimum; each period in time adds a fiftieth."""
    applied: list[int] = []
    controller = AdaptiveEfSearch(200, 100, 0.01, applied.append, clock)
    assert [period(controller, clock, late=50) for _ in range(5)] == [160, 128, 102, 100, 100]
    assert [period(controller, clock, late=5) for _ in range(3)] == [104, 108, 112]
    assert applied == [160, 128, 102, 100, 104, 108, 112]
    for _ in range(50):
        period(controller, clock, late=0)
    assert controller.ef_search == 200


def test_a_few_late_responses_change_nothing(clock: Clock):
    """Fewer than 20 responses decide nothing."""
    controller = AdaptiveEfSearch(200, 100, 0.01, lambda _: None, clock)
    assert period(controller, clock, late=10, responses=10) == 200


def test_without_a_target_nothing_changes(clock: Clock):
    """An infinite target is never missed."""
    controller = AdaptiveEfSearch(200, 100, math.inf, lambda _: pytest.fail("was changed"), clock)
    assert period(controller, clock, late=100) == 200


MAX, MIN, TARGET_S = 250, 50, 0.01
# The cost of a search, and of each entry in the candidate list.
FIXED_S, ENTRY_S = 0.0005, 0.000006


def simulate(
    controller: AdaptiveEfSearch, clock: Clock, rates: Sequence[float], seed: int = 1
) -> list[tuple[int, float]]:
    """Let one server answer requests, each second at another rate.

    Returns:
        For each second `ef_search` at its end, and the share of its responses that missed the target.
    """
    generator, free_at, seconds = np.random.default_rng(seed), 0.0, []
    for rate in rates:
        second = math.floor(clock.now + 1e-9)
        arrivals = second + np.sort(generator.random(generator.poisson(rate)))
        late = []
        for arrival in arrivals.tolist():
            free_at = max(free_at, arrival) + FIXED_S + ENTRY_S * controller.ef_search
            late.append(free_at - arrival > TARGET_S)
            clock.now = free_at
            controller.observe(free_at - arrival)
        clock.now = max(clock.now, second + 1.0)
        seconds.append((controller.ef_search, float(np.mean(late))))
    return seconds


def test_a_surge_is_answered_in_time_with_a_lower_ef_search(clock: Clock):
    """If the rate is too high for the full value, it falls until responses are in time, and no further.

    After the surge it slowly rises to the full value.
    """
    applied: list[int] = []
    controller = AdaptiveEfSearch(MAX, MIN, TARGET_S, applied.append, clock)
    before, surge, after = 20, 60, 60
    # The full value allows 500 searches a second, a value of 83 allows 1,000, and the minimum 1,250.
    trace = simulate(controller, clock, [200.0] * before + [800.0] * surge + [200.0] * after)
    assert all(value == MAX for value, _ in trace[:before])
    settled = trace[before + 5 : before + surge]
    assert all(MIN < value < 140 for value, _ in settled)
    assert np.mean([value for value, _ in settled]) > 70
    assert np.mean([late for _, late in settled]) < 0.1
    assert trace[-1][0] == MAX
    assert applied[-1] == MAX
    # It rises by a fiftieth each half second, so 80 % of the full value takes 15 s or more.
    recovered = next(second for second, (value, _) in enumerate(trace[before + surge :]) if value == MAX)
    assert recovered >= 15
    steps = np.diff([MAX, *applied])
    assert steps.max() == MAX // 50
    assert steps.min() <= -MAX // 5


def test_under_any_load_the_minimum_is_kept(clock: Clock):
    """However late responses are, the value does not fall below the minimum."""
    controller = AdaptiveEfSearch(MAX, MIN, TARGET_S, lambda _: None, clock)
    trace = simulate(controller, clock, [2_000.0] * 20)
    assert trace[-1][0] == MIN


def test_a_share_of_late_responses_within_the_target_changes_nothing(clock: Clock):
    """Two late responses in a hundred keep the 95th percentile within the target."""
    controller = AdaptiveEfSearch(MAX, MIN, TARGET_S, lambda _: None, clock)
    assert [period(controller, clock, late=2) for _ in range(10)] == [MAX] * 10

"""The circuit breaker, with a clock that only the test advances."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.gateway.backends.replicas.circuit_breaker import Attempt, BreakerOptions, BreakerState, CircuitBreaker

_OPTIONS = BreakerOptions(failures=3, min_wait_s=0.05, first_pause_s=0.25, max_pause_s=1.0)


class _Clock:
    """A clock that stands still between steps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def breaker(clock: _Clock) -> CircuitBreaker:
    return CircuitBreaker(_OPTIONS, clock)


def _admitted(breaker: CircuitBreaker) -> Attempt:
    attempt = breaker.admit()
    assert attempt is not None
    return attempt


def _time_out(breaker: CircuitBreaker, clock: _Clock, calls: int) -> None:
    attempts = [_admitted(breaker) for _ in range(calls)]
    clock.now_s += 0.1
    for attempt in attempts:
        breaker.gave_up(attempt)


def _open(breaker: CircuitBreaker) -> None:
    for _ in range(_OPTIONS.failures):
        breaker.unreachable(_admitted(breaker))
    assert breaker.state is BreakerState.OPEN


def test_it_opens_after_calls_in_a_row_without_an_answer(breaker: CircuitBreaker, clock: _Clock):
    """Two timeouts leave it closed, the third opens it; calls are then refused and counted."""
    _time_out(breaker, clock, 2)
    assert breaker.state is BreakerState.CLOSED
    _time_out(breaker, clock, 1)
    assert breaker.state is BreakerState.OPEN
    assert breaker.admit() is None
    assert (breaker.opened, breaker.refused) == (1, 1)


def test_any_answer_starts_the_count_again(breaker: CircuitBreaker, clock: _Clock):
    """An answer between the failures keeps it closed."""
    for _ in range(10):
        _time_out(breaker, clock, 2)
        breaker.answered(_admitted(breaker))
    assert breaker.state is BreakerState.CLOSED


def test_a_busy_peer_is_not_a_silent_one(breaker: CircuitBreaker, clock: _Clock):
    """Timeouts during which the peer answered another call do not count, however many they are."""
    attempts = [_admitted(breaker) for _ in range(100)]
    clock.now_s += 0.06
    breaker.answered(attempts.pop())
    clock.now_s += 0.06
    assert [breaker.gave_up(attempt) for attempt in attempts] == [False] * 99
    assert breaker.state is BreakerState.CLOSED


def test_callers_without_patience_say_nothing_about_the_peer(breaker: CircuitBreaker, clock: _Clock):
    """Timeouts shorter than the minimum wait do not open it."""
    for _ in range(100):
        attempt = _admitted(breaker)
        clock.now_s += 0.01
        breaker.gave_up(attempt)
    assert breaker.state is BreakerState.CLOSED


def test_an_answered_probe_admits_one_call_at_a_time(breaker: CircuitBreaker):
    """Half open, a second call is refused until the trial ends; its answer closes the breaker."""
    _open(breaker)
    breaker.probe_answered()
    assert breaker.state is BreakerState.HALF_OPEN
    trial = _admitted(breaker)
    assert breaker.admit() is None
    breaker.answered(trial)
    assert breaker.state is BreakerState.CLOSED


def test_pauses_double_up_to_the_longest(breaker: CircuitBreaker, clock: _Clock):
    """A peer that answers probes but no calls is tried after longer and longer pauses, at most a second."""
    _open(breaker)
    pauses = []
    for _ in range(40):
        began_s = clock.now_s
        while breaker.state is BreakerState.OPEN:
            breaker.probe_answered()
            clock.now_s += 0.0 if breaker.state is BreakerState.HALF_OPEN else 0.125
        pauses.append(clock.now_s - began_s)
        trial = _admitted(breaker)
        clock.now_s += 0.1
        breaker.gave_up(trial)
    assert pauses[:5] == pytest.approx([0, 0.25, 0.5, 1.0, 1.0])
    assert max(pauses) == pytest.approx(1.0)


def test_an_abandoned_trial_leaves_room_for_another(breaker: CircuitBreaker):
    """A trial whose caller cancelled neither closes the breaker nor blocks it."""
    _open(breaker)
    breaker.probe_answered()
    breaker.abandon(_admitted(breaker))
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.answered(_admitted(breaker))
    assert breaker.state is BreakerState.CLOSED


def test_a_late_answer_ends_the_wait(breaker: CircuitBreaker):
    """The answer to a call from before the opening counts like that to a probe."""
    early = _admitted(breaker)
    _open(breaker)
    breaker.answered(early)
    assert breaker.state is BreakerState.HALF_OPEN


class _Machine(RuleBasedStateMachine):
    """Calls, answers, failures and probes in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = _Clock()
        self.changes: list[BreakerState] = []
        self.breaker = CircuitBreaker(_OPTIONS, self.clock, self.changes.append)
        self.in_flight: list[Attempt] = []
        self.failures_in_a_row = 0
        self.opened_at_s = 0.0

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.06, 0.3, 1.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def call(self) -> None:
        state = self.breaker.state
        attempt = self.breaker.admit()
        if attempt is not None:
            self.in_flight.append(attempt)
        assert state is not BreakerState.OPEN or attempt is None
        assert state is not BreakerState.CLOSED or attempt is not None

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), end=st.sampled_from(["answered", "unreachable", "gave_up", "abandon"]))
    def end_call(self, data: st.DataObject, end: str) -> None:
        attempt = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        before, opened = self.breaker.state, self.breaker.opened
        getattr(self.breaker, end)(attempt)
        if end == "answered":
            self.failures_in_a_row = 0
            assert self.breaker.state is not BreakerState.OPEN or self._is_paused()
        elif end in ("unreachable", "gave_up"):
            self.failures_in_a_row += 1
        else:
            assert self.breaker.state is before
        if self.breaker.opened > opened:
            assert before is BreakerState.HALF_OPEN or self.failures_in_a_row >= _OPTIONS.failures
            self.failures_in_a_row, self.opened_at_s = 0, self.clock.now_s
        getattr(self.breaker, end)(attempt)  # a second report changes nothing
        assert self.breaker.opened <= opened + 1

    @rule()
    def probe(self) -> None:
        before = self.breaker.state
        self.breaker.probe_answered()
        if before is BreakerState.OPEN and not self._is_paused():
            assert self.breaker.state is BreakerState.HALF_OPEN
        if before is not BreakerState.OPEN:
            assert self.breaker.state is before

    @invariant()
    def one_trial_at_most(self) -> None:
        if self.breaker.state is BreakerState.HALF_OPEN:
            first, second = self.breaker.admit(), self.breaker.admit()
            assert second is None
            if first is not None:
                self.breaker.abandon(first)

    @invariant()
    def changes_are_told(self) -> None:
        assert self.breaker.state is (self.changes[-1] if self.changes else BreakerState.CLOSED)

    def _is_paused(self) -> bool:
        return self.clock.now_s < self.opened_at_s + _OPTIONS.max_pause_s


TestAnyOrder = _Machine.TestCase

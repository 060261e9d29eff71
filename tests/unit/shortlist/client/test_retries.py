"""When a call is tried again."""

from __future__ import annotations

import grpc
import pytest
from shortlist.client.errors import Overloaded, ShortlistClientError, Unavailable
from shortlist.client.retries import Attempts, RetryBudget

UNAVAILABLE = Unavailable(grpc.StatusCode.UNAVAILABLE, "down")


def overloaded(retry_after_s: float | None) -> ShortlistClientError:
    return Overloaded(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry_after_s=retry_after_s)


def test_the_servers_delay_is_kept():
    assert Attempts(60.0, 1, RetryBudget()).delay_s(overloaded(0.25)) == 0.25


def test_a_delay_beyond_the_deadline_ends_the_call():
    with pytest.raises(Overloaded):
        Attempts(1.0, 1, RetryBudget()).delay_s(overloaded(2.0))


def test_an_overload_without_a_delay_is_not_tried_again():
    """A message that is too large is RESOURCE_EXHAUSTED as well, and stays too large."""
    with pytest.raises(Overloaded):
        Attempts(60.0, 1, RetryBudget()).delay_s(overloaded(None))


def test_delays_grow_up_to_a_second():
    attempts = Attempts(60.0, 10, RetryBudget())
    delays = [attempts.delay_s(UNAVAILABLE) for _ in range(10)]
    assert all(
        0.5 * bound <= delay <= bound for delay, bound in zip(delays, [0.02 * 2**i for i in range(6)], strict=False)
    )
    assert all(0.5 <= delay <= 1.0 for delay in delays[6:])


def test_retries_are_a_tenth_of_calls():
    """After the first ten, failing calls are tried again once in ten."""
    budget = RetryBudget()
    tried = 0
    for _ in range(1_000):
        try:
            Attempts(60.0, 1, budget).delay_s(UNAVAILABLE)
            tried += 1
        except Unavailable:
            pass
    assert 100 <= tried <= 111

"""The budget of second tries, and the time after which one is sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.backends.replicas.retry_budget import LatencyQuantile, RetryBudget


@given(st.lists(st.booleans(), max_size=300), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_second_tries_never_exceed_their_share(calls: list[bool], share: float):
    """After any calls, second tries are at most the share of them and the ten that were saved up."""
    budget = RetryBudget(share)
    for fails in calls:
        budget.count_call()
        if fails:
            budget.withdraw()
    assert budget.spent <= share * len(calls) + (10 if share else 0)
    assert budget.spent + budget.denied == sum(calls)


def test_a_tenth_of_failing_calls_is_retried():
    """If every call fails, a tenth of them is retried in the long run."""
    budget = RetryBudget(0.1)
    for _ in range(1_000):
        budget.count_call()
        budget.withdraw()
    assert 100 <= budget.spent <= 110


def test_the_quantile_is_that_of_the_latest_latencies():
    """It is unknown at first, then the 95th of a hundred, and forgets what is long past."""
    latency = LatencyQuantile(0.95)
    assert latency.seconds is None
    for ms in range(100):
        latency.observe(ms / 1e3)
    assert latency.seconds == 0.095
    for _ in range(200):
        latency.observe(0.001)
    assert latency.seconds == 0.001

"""What `top` makes of Prometheus pages."""

from __future__ import annotations

import math

import pytest
from prometheus_client import generate_latest
from shortlist.cli.top import quantile, rows_of, samples

from common.server.telemetry import Metrics


def test_rates_are_of_the_time_between_two_looks():
    """Calls before the first look do not count; errors are those that are not OK."""
    metrics = Metrics("gateway")
    for _ in range(50):
        metrics.count_call("/shortlist.gateway.v1.RecommendationService/Recommend", "OK", 5.0)
    before = samples(generate_latest(metrics.registry).decode())
    for number in range(20):
        metrics.count_call(
            "/shortlist.gateway.v1.RecommendationService/Recommend", "OK" if number else "UNAVAILABLE", 0.01
        )
    now = samples(generate_latest(metrics.registry).decode())
    ((server, method, calls, errors, p50, p99, in_flight),) = rows_of("x:1", before, now, 2.0)
    assert (server, method, calls, errors, in_flight) == ("gateway", "Recommend", "10.0", "0.5", "0")
    assert 0 < float(p50) <= float(p99) < 1_000


def test_a_server_that_does_not_answer_is_a_row():
    assert rows_of("x:1", {}, None, 1.0)[0][:2] == ["x:1", "does not answer"]


def test_quantiles_are_linear_within_a_bucket():
    buckets = [(0.1, 50.0), (0.2, 100.0), (math.inf, 100.0)]
    assert quantile(buckets, 0.5) == pytest.approx(0.1)
    assert quantile(buckets, 0.75) == pytest.approx(0.15)
    assert math.isnan(quantile([], 0.5))
    assert quantile([(0.1, 0.0), (math.inf, 4.0)], 0.5) == 0.1

"""Trends of memory, descriptors and threads."""

from __future__ import annotations

import os
import random

import pytest

from benchmarks.reliability.resource_trend import Sample, sample, trends


def _samples(memory_per_hour: float, descriptors_per_hour: float) -> list[Sample]:
    """Return half an hour of noisy samples with slopes, after a steep beginning."""
    chosen = random.Random(3)
    samples = []
    for number in range(180):
        hours = number * 10 / 3_600
        warm_up = min(number, 40)
        memory = 200 + warm_up + memory_per_hour * hours + chosen.gauss(0, 2)
        samples.append(Sample(number * 10.0, memory, 30 + round(descriptors_per_hour * hours), 12))
    return samples


def test_a_steady_server_holds():
    """Noise and a beginning in which caches fill are no growth."""
    found = trends(_samples(0.0, 0.0))
    assert all(trend.holds for trend in found.values())
    assert found["memory, MB"].per_hour == pytest.approx(0.0, abs=8)
    assert found["threads"].per_hour == 0


def test_growth_is_found_with_its_slope():
    """A leak of 100 MB or of 20 descriptors an hour does not hold."""
    found = trends(_samples(100.0, 20.0))
    assert not found["memory, MB"].holds
    assert not found["descriptors"].holds
    assert found["memory, MB"].per_hour == pytest.approx(100, rel=0.1)
    assert found["descriptors"].last - found["descriptors"].first == pytest.approx(20 * 0.35, abs=2)


def test_a_peak_is_no_trend():
    """A single sample far above the others moves nothing."""
    samples = _samples(0.0, 0.0)
    samples[150] = Sample(1_500.0, 5_000.0, 900, 80)
    assert all(trend.holds for trend in trends(samples).values())


def test_a_process_is_sampled():
    """Memory, descriptors and threads are those of the process."""
    found = sample(os.getpid(), 1.0)
    assert found.memory_mb > 1
    assert found.descriptors >= 3
    assert found.threads >= 1

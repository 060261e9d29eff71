"""The sequential test keeps its error however often one looks, and finds what there is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from pipeline.comparison.sequential_test import compare_means

LOOKS = range(50, 1_001, 50)


def test_looking_often_does_not_find_what_is_not_there():
    """Looking twenty times at equal variants finds a difference in at most 5 %; the usual test far more often."""
    generator = np.random.default_rng(4)
    found = usual = 0
    for _ in range(300):
        first, second = generator.normal(1, 1, (2, LOOKS[-1]))
        found += any(compare_means(first[:users], second[:users], 0.1).p <= 0.05 for users in LOOKS)
        z = [abs(second[:users].mean() - first[:users].mean()) / math.sqrt(2 / users) for users in LOOKS]
        usual += 2 * norm.sf(max(z)) <= 0.05
    assert found / 300 <= 0.05
    assert usual / 300 > 0.15


def test_a_difference_is_found():
    """A true effect is found with enough users, and the interval has it."""
    generator = np.random.default_rng(5)
    result = compare_means(generator.normal(1.0, 1, 20_000), generator.normal(1.1, 1, 20_000), 0.1)
    assert result.p < 0.001
    assert result.low < 0.1 < result.high
    assert result.low > 0


def test_interval_and_p_agree():
    """The interval leaves 0 out exactly where p is below 5 %."""
    generator = np.random.default_rng(6)
    for shift in np.linspace(0, 0.5, 40):
        result = compare_means(generator.normal(0, 1, 300), generator.normal(shift, 1, 300), 0.2)
        assert (result.p < 0.05) == (result.low > 0 or result.high < 0)


def test_the_formula_is_that_of_the_paper():
    """The ratio of the normal mixture, computed by integration over the effect."""
    first, second, effect = np.array([1.0, 2.0, 4.0, 3.0]), np.array([3.0, 5.0, 4.0, 6.0]), 0.7
    difference, variance = second.mean() - first.mean(), first.var(ddof=1) / 4 + second.var(ddof=1) / 4
    grid = np.linspace(-12, 12, 200_001)
    likelihood = norm.pdf(difference, grid, math.sqrt(variance)) * norm.pdf(grid, 0, effect)
    ratio = np.trapezoid(likelihood, grid) / norm.pdf(difference, 0, math.sqrt(variance))
    assert compare_means(first, second, effect).p == pytest.approx(min(1.0, 1 / ratio), rel=1e-6)


def test_values_without_variance_are_compared_exactly():
    """Equal constants do not differ, others do."""
    assert compare_means(np.ones(3), np.ones(3), 0.1).p == 1.0
    assert compare_means(np.ones(3), np.zeros(3), 0.1).p == 0.0

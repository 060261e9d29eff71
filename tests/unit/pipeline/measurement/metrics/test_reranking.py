"""Measures of re-ranked judged lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pipeline.measurement.metrics.reranking import (
    JudgedLists,
    compare_scores,
    pair_accuracy,
    per_query,
    random_ndcg,
    spearman,
)


def test_pair_accuracy_by_hand():
    """Of three pairs of different grades one is in order, one is tied (half right), one is not."""
    assert pair_accuracy(np.array([1.0, 0.5, 0.0]), np.array([2.0, 3.0, 2.0])) == pytest.approx((0 + 0.5 + 1) / 3)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), min_size=2, max_size=30))
def test_spearman_is_scipys(pairs: list[tuple[int, int]]):
    """The same as scipy's with ties, and 0 where a side is constant."""
    grades, scores = np.array(pairs, np.float64).T
    constant = np.ptp(grades) == 0 or np.ptp(scores) == 0
    expected = 0.0 if constant else spearmanr(grades, scores).statistic
    assert spearman(scores, grades) == pytest.approx(expected, abs=1e-9)


def test_ndcg_by_hand_and_queries_without_grades_left_out():
    """Grades are gains; a query whose items are all irrelevant has no NDCG, one of equal grades no order."""
    lists = JudgedLists.from_queries([np.array([0.0, 1.0, 0.5]), np.zeros(2), np.array([0.5, 0.5])])
    measured = per_query(lists, np.array([3.0, 2.0, 1.0, 1.0, 0.0, 1.0, 2.0]))
    ideal = 1.0 + 0.5 / np.log2(3)
    reached = 1.0 / np.log2(3) + 0.5 / np.log2(4)
    np.testing.assert_allclose(measured["ndcg@10"], [reached / ideal, 1.0])
    np.testing.assert_allclose(measured["pair accuracy"], [1 / 3])
    np.testing.assert_allclose(measured["spearman by query"], [-0.5])


def test_random_orders_lie_between_the_worst_and_the_best():
    """With one good item of two, half of the random orders have it first."""
    lists = JudgedLists.from_queries([np.array([1.0, 0.0])] * 400)
    assert random_ndcg(lists, seed=0) == pytest.approx((1 + 1 / np.log2(3)) / 2, abs=0.01)


def test_a_better_system_is_better_beyond_its_interval():
    """Against noise, the grades themselves are ahead in every measure; against itself a system is nowhere ahead."""
    draws = np.random.default_rng(3)
    grades = [draws.integers(0, 4, 6).astype(np.float64) for _ in range(60)]
    lists = JudgedLists.from_queries(grades)
    noise = draws.normal(size=len(lists.grades))
    found = compare_scores(lists, {"noise": noise, "same": noise, "grades": lists.grades}, seed=1)
    assert found["grades"].means["spearman"].mean == pytest.approx(1.0)
    for name in ("spearman", "ndcg@10", "pair accuracy", "spearman by query"):
        assert found["grades"].over["noise"][name].low > 0
        assert found["same"].over["noise"][name] == (0.0, 0.0, 0.0)
    assert found["grades"].lift > 0.1 > abs(found["noise"].lift)
    assert found["noise"].over == {}

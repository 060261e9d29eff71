"""Measures of requests with one target each."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from benchmarks.histories.quality import MeasuresAtTen, measures_at_ten, random_measures_at_ten
from pipeline.measurement.metrics.ranking_metrics import evaluate

_LABELS = np.zeros(37, np.float32)
_LABELS[[3, 24]] = 1
_SIZES = np.array([12, 25])


def test_measures_equal_those_of_the_metrics_module():
    """NDCG@10 and HR@10 equal trec_eval's; requests whose target is no candidate count 0."""
    for seed in range(20):
        scores = np.random.default_rng(seed).random(37)
        orders = [np.argsort(-scores[:12]), 12 + np.argsort(-scores[12:])]
        listed = {str(number): [str(place) for place in order] for number, order in enumerate(orders)}
        expected = evaluate(listed, {"0": {"3"}, "1": {"24"}, "2": {"elsewhere"}}, ["ndcg@10", "hr@10"])
        found = measures_at_ten(_LABELS, _SIZES, scores, 3)
        assert found.ndcg == pytest.approx(expected["ndcg@10"])
        assert found.hit.tolist() == expected["hr@10"].tolist()


def test_equal_scores_leave_the_first_stages_order():
    """Equal scores keep the first stage's order."""
    assert measures_at_ten(_LABELS, _SIZES, np.zeros(37), 2).ndcg == pytest.approx([1 / np.log2(5), 0])
    assert measures_at_ten(_LABELS, _SIZES, np.zeros(37), 2).hit.tolist() == [1, 0]


def test_random_is_the_mean_over_all_orders():
    """The measures of a random order are expectations, not samples."""
    labels, sizes = np.array([1, 0, 0, 0], np.float32), np.array([4])
    every = [measures_at_ten(labels, sizes, np.array(order, np.float64), 1).ndcg[0] for order in permutations(range(4))]
    assert random_measures_at_ten(sizes, 1).ndcg[0] == pytest.approx(np.mean(every))
    assert random_measures_at_ten(_SIZES, 3).hit == pytest.approx([10 / 12, 10 / 25, 0])


def test_differences_are_paired():
    """An order differs by 0 from itself, and a part of the requests has its own means."""
    one = MeasuresAtTen(np.array([1.0, 0.5, 0.0]), np.array([1.0, 1.0, 0.0]))
    better = MeasuresAtTen(one.ndcg + 0.25, one.hit)
    assert better.less(one)["NDCG@10"] == pytest.approx((0.25, 0.25, 0.25))
    assert better.less(one)["HR@10"] == (0, 0, 0)
    part = one.of(np.array([True, True, False]))
    assert part.as_json(one)["ndcg@10"]["mean"] == pytest.approx(0.75)
    assert part.as_json(one)["ndcg@10 over random"] == pytest.approx(0.25)

"""Calibration and decisions agree with cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.measurement.metrics.calibration import calibration_bins, outcomes, probability_metrics, roc_auc
from pipeline.measurement.questions.answers import Answer
from pipeline.measurement.questions.protocols import Question


def test_decisions_by_hand():
    """Two of four candidates are above the threshold; one of them and one other are relevant."""
    found = probability_metrics(np.array([0.9, 0.8, 0.3, 0.1]), np.array([True, False, True, False]), 0.5)
    assert found is not None
    assert (found.accuracy, found.precision, found.recall, found.f1) == (0.5, 0.5, 0.5, 0.5)
    assert found.brier == pytest.approx((0.01 + 0.64 + 0.49 + 0.01) / 4)
    assert found.auc == 3 / 4
    assert found.base_rate == 0.5
    # Each candidate is a bin of its own: |.9-1|, |.8-0|, |.3-1|, |.1-0|.
    assert found.expected_calibration_error == pytest.approx((0.1 + 0.8 + 0.7 + 0.1) / 4)


def test_correct_probabilities_are_calibrated():
    """If a fifth of the candidates with probability 0.2 are relevant, the error is 0 and the interval contains 0.2."""
    found = probability_metrics(np.full(150, 0.2), np.arange(150) % 5 == 0, 0.5)
    assert found is not None
    assert found.expected_calibration_error == pytest.approx(0.0, abs=1e-9)
    assert all(part.low < 0.2 < part.high for part in found.bins)
    assert (found.precision, found.recall, found.f1, found.accuracy) == (0.0, 0.0, 0.0, 0.8)


def test_bins_hold_equal_numbers_in_order():
    """Fifteen bins from the lowest probability up; the Wilson interval of 0 of 2 reaches 0.658."""
    bins = calibration_bins(np.linspace(0, 1, 30), np.zeros(30, np.bool_))
    assert [part.candidates for part in bins] == [2] * 15
    assert [part.predicted for part in bins] == sorted(part.predicted for part in bins)
    assert (bins[0].low, bins[0].high) == (0.0, pytest.approx(0.6576, abs=1e-3))


@pytest.mark.parametrize(
    ("probability", "wanted", "expected"),
    [([0.1, 0.9], [False, True], 1.0), ([0.5, 0.5], [False, True], 0.5), ([0.1, 0.9], [True, True], 0.5)],
)
def test_auc_by_hand(probability: list[float], wanted: list[bool], expected: float):
    """Right pairs count one, ties half, and without two kinds there is nothing to order."""
    assert roc_auc(np.array(probability), np.array(wanted)) == expected


def test_only_candidates_with_a_known_outcome_count():
    """Without a probability a candidate is left out; among judgements, so is one that nobody judged."""
    questions = [Question("q", "q", (), "pen", {"a": 1.0, "b": 0.0})]
    answers = {"q": Answer(["a", "b", "c", "d"], np.array([0.5, 0.4, 0.3, np.nan]), {})}
    probability, wanted = outcomes(questions, answers, judged=False)
    assert (probability.tolist(), wanted.tolist()) == ([0.5, 0.4, 0.3], [True, False, False])
    assert outcomes(questions, answers, judged=True)[0].tolist() == [0.5, 0.4]


def test_nothing_to_assess():
    """A mode without probabilities has no such figures."""
    assert probability_metrics(np.empty(0), np.empty(0, np.bool_), 0.5) is None

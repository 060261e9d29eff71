"""The fusion of judged searches."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.learning.fusion.graded_trees import GradedExamples, cross_fit_fusion
from pipeline.learning.fusion.trees import platt
from pipeline.measurement.metrics.reranking import spearman
from pipeline.progress import ProgressStep


@pytest.fixture(scope="module")
def examples() -> GradedExamples:
    """Pairs whose grade follows a lexical feature and, more closely, the logit."""
    draws = np.random.default_rng(5)
    grades = draws.integers(0, 5, 3_000) / 4
    words, logits = grades + draws.normal(0, 0.6, 3_000), grades + draws.normal(0, 0.3, 3_000)
    read = np.stack([words, logits], axis=1).astype(np.float32)
    unread = np.stack([words, np.full(3_000, np.nan)], axis=1).astype(np.float32)
    return GradedExamples({"read": read, "unread": unread}, grades.astype(np.float32), np.arange(3_000) // 6 % 2)


def test_held_out_probabilities_order_and_are_calibrated(examples: GradedExamples):
    """With its logit a pair is judged better than without; promised grades are kept in the mean, low and high."""
    fitted = cross_fit_fusion(examples, ["words", "logit"], seeds=[1], trees=40, step=ProgressStep(None, "", None))
    read, unread = fitted.held_out["read"], fitted.held_out["unread"]
    assert spearman(read, examples.grades) > spearman(unread, examples.grades) + 0.1
    assert spearman(unread, examples.grades) > 0.3
    for half in (read < 0.5, read >= 0.5):
        assert read[half].mean() == pytest.approx(float(examples.grades[half].mean()), abs=0.03)


def test_no_fold_sees_its_own_grades(examples: GradedExamples):
    """Where grades are noise, held-out probabilities know nothing of them; the served trees have learnt them."""
    noise = np.random.default_rng(9).permutation(examples.grades)
    blind = GradedExamples(examples.views, noise, examples.fold)
    fitted = cross_fit_fusion(blind, ["words", "logit"], seeds=[1], trees=40, step=ProgressStep(None, "", None))
    assert abs(spearman(fitted.held_out["read"], noise)) < 0.06
    assert spearman(fitted.fusion.probability(blind.views["read"]), noise) > 0.1


def test_platt_takes_shares_for_labels():
    """A label of 0.25 is one part yes and three parts no; whole labels are fitted as ever."""
    raw = np.linspace(-2, 2, 40)
    grades = np.clip(raw / 5 + 0.5, 0, 1).astype(np.float32)
    repeated = np.repeat(raw, 4)[:, None]
    parts = (np.tile([0.5, 1.5, 2.5, 3.5], 40) / 4 < np.repeat(grades, 4)).astype(int)
    expected = LogisticRegression(C=np.inf).fit(repeated, parts)
    rounded = parts.reshape(-1, 4).mean(axis=1).astype(np.float32)
    slope, intercept = platt(raw, rounded)
    assert slope == pytest.approx(float(expected.coef_[0, 0]), rel=1e-3)
    assert intercept == pytest.approx(float(expected.intercept_[0]), abs=1e-3)

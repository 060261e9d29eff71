"""Probabilities in the first stage's order, against scikit-learn's isotonic regression."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from services.ranking.cascade.kept_order import in_first_stage_order


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_it_is_isotonic_regression(values: list[float], random: object):
    """Whatever the order of the request, the answer is scikit-learn's."""
    places = list(range(len(values)))
    random.shuffle(places)  # type: ignore[attr-defined]
    score = -np.array(places, dtype=np.float32)
    probability = np.array(values, dtype=np.float32)
    expected = IsotonicRegression(increasing=False).fit_transform(places, probability)
    np.testing.assert_allclose(in_first_stage_order(probability, score), expected, atol=1e-6)


def test_without_scores_the_order_of_the_request_counts():
    """A direct caller of ranking may give no scores of a first stage."""
    kept = in_first_stage_order(np.array([0.2, 0.4, 0.1], dtype=np.float32), np.array([np.nan, 1.0, 2.0]))
    np.testing.assert_allclose(kept, [0.3, 0.3, 0.1], atol=1e-6)

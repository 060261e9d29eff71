"""Spearman's correlation over all judged pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.harness.rank_correlation import spearman, spearman_difference
from common.ragged import TokenRows
from pipeline.learning.examples.ranking_lists import RankingExample
from services.ranking.pairs.pair_tokens import TokenPairs

NO_PAIRS = TokenPairs(TokenRows.from_rows([]), np.empty(0, np.int64))


def _judged(generator: np.random.Generator) -> tuple[list[RankingExample], list[np.ndarray], list[np.ndarray]]:
    """Return queries of 1 to 8 items, scores near their grades, and random scores."""
    labels = [generator.integers(0, 4, generator.integers(1, 9)) / 3 for _ in range(60)]
    near = [one + generator.normal(0, 0.3, len(one)) for one in labels]
    far = [generator.normal(size=len(one)) for one in labels]
    return [RankingExample(NO_PAIRS, one.astype(np.float32)) for one in labels], near, far


def test_correlation_equals_scipys():
    """The correlation over the pairs of all queries equals scipy's, ties included."""
    examples, near, _ = _judged(np.random.default_rng(1))
    labels = np.concatenate([one.labels for one in examples])
    assert spearman(examples, near) == pytest.approx(spearmanr(np.concatenate(near), labels).statistic)


def test_a_difference_has_an_interval():
    """The interval contains the difference, is above 0 for a better order, and 0 for the same order."""
    examples, near, far = _judged(np.random.default_rng(1))
    found = spearman_difference(examples, near, far)
    assert found.mean == pytest.approx(spearman(examples, near) - spearman(examples, far))
    assert 0 < found.low < found.mean < found.high
    assert tuple(spearman_difference(examples, near, near)) == (0.0, 0.0, 0.0)

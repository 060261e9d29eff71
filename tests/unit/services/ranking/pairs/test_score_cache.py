"""The cache of logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.ranking.pairs.score_cache import ScoreCache


def _logits(*values: Any) -> Any:
    return np.array(values, dtype=np.float32)


def test_what_was_kept_is_found():
    """Logits are found by context and item, catalogue rows and texts alike; what is unknown is NaN."""
    cache = ScoreCache(10)
    cache.put(b"me", [1, b"text"], _logits(0.5, -2.0))
    np.testing.assert_array_equal(cache.find(b"me", [b"text", 2, 1]), _logits(-2.0, np.nan, 0.5))
    assert np.isnan(cache.find(b"you", [1])).all()


def test_the_least_recently_used_goes_first():
    """Past the bound, what was neither kept nor found lately is forgotten."""
    cache = ScoreCache(2)
    cache.put(b"me", [1, 2], _logits(1, 2))
    cache.find(b"me", [1])
    cache.put(b"me", [3], _logits(3))
    assert len(cache) == 2
    np.testing.assert_array_equal(cache.find(b"me", [1, 2, 3]), _logits(1, np.nan, 3))


def test_failures_are_not_kept():
    """A pair that could not be read is tried again the next time."""
    cache = ScoreCache(2)
    cache.put(b"me", [1, 2], _logits(np.nan, 2))
    assert len(cache) == 1


def test_no_entries_is_no_cache():
    """With 0 entries nothing is kept."""
    cache = ScoreCache(0)
    cache.put(b"me", [1], _logits(1))
    assert np.isnan(cache.find(b"me", [1])).all()
    assert len(cache) == 0

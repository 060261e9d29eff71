"""Typing errors made for the benchmark."""

from __future__ import annotations

import numpy as np
from rapidfuzz.distance import OSA

from benchmarks.language.typing_errors import with_typing_error


def test_one_word_has_one_error():
    """At most one edit, in a word of four letters or more; numbers and short words stay."""
    generator = np.random.default_rng(1)
    seen = {with_typing_error("oak door 36 in", generator) for _ in range(300)}
    assert all(OSA.distance(query, "oak door 36 in") <= 1 for query in seen)
    assert all(query.startswith("oak ") and query.endswith(" 36 in") for query in seen)
    assert len(seen) > 50
    assert with_typing_error("oak 36 in", generator) == "oak 36 in"

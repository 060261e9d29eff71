"""Weights of sources that training searches cannot judge."""

from __future__ import annotations

import pytest

from pipeline.learning.examples.labelled_candidates import with_semantic_floor

KINDS = {"words": "lexical", "semantic": "semantic", "meaning": "semantic", "similar": "similar", "popular": "popular"}


@pytest.mark.parametrize("situation", ["query", "both"])
def test_meaning_counts_at_least_as_much_as_words_in_searches(situation: str):
    """Every semantic source is lifted to the lexical one's weight; a higher weight and other kinds stay."""
    learned = {situation: {"words": 0.6, "semantic": 0.03, "meaning": 1.0, "similar": 0.0, "popular": 0.2}}
    assert with_semantic_floor(learned, KINDS.__getitem__) == {
        situation: {"words": 0.6, "semantic": 0.6, "meaning": 1.0, "similar": 0.0, "popular": 0.2}
    }


def test_other_situations_and_releases_without_words_keep_their_weights():
    """Histories judge the semantic source, and without a lexical one there is nothing to weigh it against."""
    learned = {"history": {"words": 1.0, "semantic": 0.1}, "query": {"semantic": 0.2, "popular": 1.0}}
    assert with_semantic_floor(learned, KINDS.__getitem__) == learned

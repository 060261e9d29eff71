"""Candidates in the order of the ranking."""

from __future__ import annotations

import pytest

from common.errors import NotFound
from services.gateway.backends.stages import RankingResult, RankingScores, RetrievalResult
from services.gateway.candidates import Candidate
from services.gateway.recommendation.ranked_candidates import find_candidate, ranked_candidates

_RETRIEVED = RetrievalResult([Candidate(name, 1.0) for name in "abcd"], "r1")


def test_the_most_probable_comes_first():
    """Equally probable candidates keep retrieval's order, and each keeps its rank there."""
    ranking = RankingResult([RankingScores(p, p * 2, p * 3, 3) for p in (0.1, 0.5, 0.1, 0.9)], "r1")
    ranked = ranked_candidates(_RETRIEVED, ranking)
    assert [(each.candidate.item_id, each.first_stage_rank) for each in ranked] == [
        ("d", 4),
        ("b", 2),
        ("a", 1),
        ("c", 3),
    ]
    best = ranked[0]
    assert (best.probability, best.cross_encoder_logit, best.late_score, best.tier) == (0.9, 1.8, pytest.approx(2.7), 3)


def test_without_a_ranking_the_order_is_retrievals():
    """No candidate has a probability."""
    ranked = ranked_candidates(_RETRIEVED, None)
    assert [(each.candidate.item_id, each.first_stage_rank, each.probability) for each in ranked] == [
        ("a", 1, None),
        ("b", 2, None),
        ("c", 3, None),
        ("d", 4, None),
    ]


def test_a_candidate_is_found_by_its_id():
    """With its rank; an unknown one is an error that names it."""
    assert (find_candidate(_RETRIEVED, "c").candidate.item_id, find_candidate(_RETRIEVED, "c").first_stage_rank) == (
        "c",
        3,
    )
    with pytest.raises(NotFound, match="'e' is not among the 4 candidates"):
        find_candidate(_RETRIEVED, "e")

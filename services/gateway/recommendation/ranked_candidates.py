"""Candidates in the order of the ranking."""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import NotFound
from services.gateway.backends.stages import RankingResult, RankingScores, RetrievalResult
from services.gateway.candidates import RankedCandidate


def ranked_candidates(retrieved: RetrievalResult, ranking: RankingResult | None) -> Sequence[RankedCandidate]:
    """Return the candidates by falling probability; equal ones, and all without a ranking, in retrieval's order."""
    ranks = range(1, len(retrieved.candidates) + 1)
    if ranking is None:
        return list(map(RankedCandidate, retrieved.candidates, ranks))
    scored = zip(retrieved.candidates, ranks, ranking.scores, strict=True)
    ranked = [RankedCandidate(candidate, rank, *scores) for candidate, rank, scores in scored]
    return sorted(ranked, key=lambda item: -(item.probability or 0.0))


def with_scores(item: RankedCandidate, scores: RankingScores) -> RankedCandidate:
    """Return a candidate with ranking's scores."""
    return RankedCandidate(item.candidate, item.first_stage_rank, *scores)


def find_candidate(retrieved: RetrievalResult, item_id: str) -> RankedCandidate:
    """Return a candidate with its rank in the first stage; raises NotFound."""
    for rank, candidate in enumerate(retrieved.candidates, start=1):
        if candidate.item_id == item_id:
            return RankedCandidate(candidate, rank)
    raise NotFound(
        f"item_id: {item_id!r} is not among the {len(retrieved.candidates):,} candidates of the request; explain an "
        "item of its answer"
    )


def release_id(retrieved: RetrievalResult, ranking: RankingResult | None) -> str:
    """Return the release that answered; empty if no stage did."""
    if ranking is not None:
        return ranking.release_id
    return "" if retrieved.is_fallback else retrieved.release_id


def ignored_history_items(retrieved: RetrievalResult, ranking: RankingResult | None) -> int:
    """Return how many items of the history the release that answered does not have."""
    if retrieved.is_fallback and ranking is not None:
        return ranking.ignored_history_items
    return retrieved.ignored_history_items

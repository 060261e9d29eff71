"""The small catalogue of the fake services."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from shortlist.retrieval.v1 import retrieval_pb2

ITEMS = 40
LONG_TAIL_ITEMS = 10
NEW_ITEMS = 4
ATTRIBUTES = {"brand", "category", "price", "available", "language"}
EVIDENCE = [
    retrieval_pb2.SourceEvidence(source="behaviour", evidence=retrieval_pb2.EVIDENCE_BEHAVIOUR),
    retrieval_pb2.SourceEvidence(source="popular", evidence=retrieval_pb2.EVIDENCE_POPULAR),
]


def planted(position: int) -> retrieval_pb2.Candidate:
    """Return a candidate: four brands, two categories, prices rising, the first ten in the long tail, four new."""
    return retrieval_pb2.Candidate(
        item_id=f"item-{position}",
        score=1.0 - position / 100,
        sources=[
            retrieval_pb2.SourceScore(source="behaviour", score=1.0 - position / 50),
            retrieval_pb2.SourceScore(source="popular", score=0.5),
        ],
        title=f"title {position}",
        brand=f"brand-{position % 4}",
        category=f"category-{position % 2}",
        price=float(position),
        available=True,
        long_tail=position < LONG_TAIL_ITEMS,  # ranking reverses the order
        new_item=position < NEW_ITEMS,
    )


def planted_vector(item_id: str) -> bytes:
    """Return the vector of a planted item: one direction for each brand."""
    return bytes(127 if at == int(item_id.rpartition("-")[2]) % 4 else 0 for at in range(4))


def evaluated(condition: Any, candidates: Sequence[retrieval_pb2.Candidate]) -> retrieval_pb2.ConditionResult:
    """Evaluate a match of brand or category, or the lowest price of a range."""
    attribute, values = condition.match.attribute or condition.range.attribute, condition.match.values
    if attribute not in ATTRIBUTES:
        return retrieval_pb2.ConditionResult(fault=f"no attribute {attribute!r}")
    least = condition.range.min
    holds = (getattr(one, attribute, "en") in values if values else one.price >= least for one in candidates)
    return retrieval_pb2.ConditionResult(holds=bytes(holds))


def source_columns(candidates: Sequence[retrieval_pb2.Candidate]) -> retrieval_pb2.CandidateColumns:
    """Move the scores of the candidates' sources into columns."""
    scores: dict[str, list[float]] = {source.source: [] for one in candidates for source in one.sources}
    for one in candidates:
        known = {source.source: source.score for source in one.sources}
        for name, column in scores.items():
            column.append(known.get(name, math.nan))
        one.ClearField("sources")
    columns = [retrieval_pb2.SourceColumn(source=name, scores=scores[name]) for name in sorted(scores)]
    return retrieval_pb2.CandidateColumns(sources=columns)

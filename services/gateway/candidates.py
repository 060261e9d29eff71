"""Candidates: as retrieval returns them, and as ranking has scored them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Evidence(StrEnum):
    """What a candidate source goes by; named as in the contract."""

    BEHAVIOUR = "BEHAVIOUR"
    REPEAT = "REPEAT"
    SIMILAR = "SIMILAR"
    SEMANTIC = "SEMANTIC"
    LEXICAL = "LEXICAL"
    POPULAR = "POPULAR"
    TRENDING = "TRENDING"
    EXPLORATION = "EXPLORATION"


class Candidate(NamedTuple):
    """One item that retrieval returned, with the attributes that the policy and the answer need.

    A tuple, since an answer makes hundreds: a frozen dataclass takes five times as long to make.

    Attributes:
        item_id: The item's id.
        score: The first stage's fused score; comparable only within one answer.
        sources: The score that each source gave the item, as (name, score), ordered by name.
        title: The title.
        brand: The brand; empty if unknown.
        category: The category; empty if unknown.
        price: The price in the shop's currency; None if unknown.
        available: Whether it can be bought now.
        long_tail: Whether it belongs to the long tail, as retrieval reports it.
        text: The text that the models read; set only if the release lacks the item or has another text of it.
        text_hash: Equal for items with the same text; 0 if retrieval does not say.
        new_item: Whether it was added since the release was built.
        holds: Which of the request's conditions hold for it, by their positions.
        undecided: Of which of them it is not known, because retrieval did not answer.
        vector: Its direction, one signed byte per number; empty if it was not asked for or is not known.
    """

    item_id: str
    score: float
    sources: Sequence[tuple[str, float]] = ()
    title: str = ""
    brand: str = ""
    category: str = ""
    price: float | None = None
    available: bool = True
    long_tail: bool = False
    text: str = ""
    text_hash: int = 0
    new_item: bool = False
    vector: bytes = b""
    holds: frozenset[int] = frozenset()
    undecided: frozenset[int] = frozenset()


class RankedCandidate(NamedTuple):
    """A candidate with ranking's scores, which are None if ranking did not answer.

    Attributes:
        candidate: The candidate.
        first_stage_rank: Its position in the first stage's order, from 1.
        probability: The calibrated probability that the user buys it, 0 to 1.
        cross_encoder_logit: The cross-encoder's logit; None also if the cross-encoder did not read the item.
        late_score: The late-interaction score; None also if late interaction did not score the item.
        tier: The tier that ranked the item, as numbered in the contract; 0 if none did.
    """

    candidate: Candidate
    first_stage_rank: int
    probability: float | None = None
    cross_encoder_logit: float | None = None
    late_score: float | None = None
    tier: int = 0

"""An item on its way through the stages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """One item that the first stage found, with the attributes that policy and answers need.

    Attributes:
        item_id: The item's id.
        score: The first stage's fused score; comparable within one answer only.
        sources: What each source that found the item said of it, as (name, score), ordered by name.
        title: The title.
        brand: The brand; empty where unknown.
        category: The category; empty where unknown.
        price: The price in the shop's currency; None where unknown.
        available: Whether it can be bought now.
        long_tail: Whether it is of the long tail, as retrieval says.
        text: What the models read of it, set only where the release does not have the item or another text of it.
    """

    item_id: str
    score: float
    sources: tuple[tuple[str, float], ...] = ()
    title: str = ""
    brand: str = ""
    category: str = ""
    price: float | None = None
    available: bool = True
    long_tail: bool = False
    text: str = ""


@dataclass(frozen=True)
class Item:
    """A candidate and what the second stage said of it; None where that stage did not answer.

    Attributes:
        candidate: What the first stage said.
        first_stage_rank: The position in the first stage's order, from 1.
        probability: The calibrated probability that the user buys it, 0 to 1.
        cross_encoder_logit: The cross-encoder's logit; None also where it did not read the item.
        late_score: Late interaction's score; None also where it did not score the item.
        tier: Which tier ranked the item, as the contract numbers them; 0 where none did.
    """

    candidate: Candidate
    first_stage_rank: int
    probability: float | None = None
    cross_encoder_logit: float | None = None
    late_score: float | None = None
    tier: int = 0

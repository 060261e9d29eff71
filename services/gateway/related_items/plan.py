"""Which lists of the first stage are fused for an answer, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.gateway.candidates import Evidence
from services.gateway.recommendation.reasons import ReasonKind


@dataclass(frozen=True)
class RankedList:
    """One list that the first stage retrieves.

    Attributes:
        evidence: What the sources go by that find its items.
        weight: Its weight in the fusion, above 0.
        reason: Why its items are in the answer.
    """

    evidence: tuple[Evidence, ...]
    weight: float
    reason: ReasonKind


@dataclass(frozen=True)
class Plan:
    """The lists to fuse, each retrieved to the same depth.

    Attributes:
        lists: The lists.
        name: The name of the plan in metrics, and of its sentences in `ReasonTexts.near`.
    """

    name: str
    lists: tuple[RankedList, ...]


# A product page compares: alternatives by text and use first, then what users chose next.
SIMILAR_ITEMS: Final = Plan(
    "similar_items",
    (
        RankedList((Evidence.SIMILAR, Evidence.SEMANTIC), 1.0, ReasonKind.SIMILAR),
        RankedList((Evidence.BEHAVIOUR,), 0.5, ReasonKind.BEHAVIOUR),
    ),
)

# A cart is completed: an item like one in it is an alternative to it, no complement. By reciprocal rank with these
# weights, the best of the second list follows the first 500 or so of the first one.
RELATED_TO_CART: Final = Plan(
    "related_to_cart",
    (
        RankedList((Evidence.BEHAVIOUR,), 1.0, ReasonKind.BEHAVIOUR),
        RankedList((Evidence.SIMILAR, Evidence.SEMANTIC), 0.1, ReasonKind.SIMILAR),
    ),
)

"""How two ranked lists differ: rank-biased overlap, and what moved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

# Ranks 1 to 10 have 86 % of the weight: Webber, Moffat and Zobel, "A Similarity Measure for Indefinite Rankings",
# ACM TOIS 28(4), 2010, section 4.2.
PERSISTENCE: Final = 0.9


def rank_biased_overlap(left: Sequence[str], right: Sequence[str], persistence: float = PERSISTENCE) -> float:
    """Return the extrapolated rank-biased overlap of two lists, 0 to 1: RBO_EXT, equation 32 of Webber et al. (2010).

    Args:
        left: Distinct ids, best first.
        right: The same.
        persistence: How much the next rank counts in relation to the one before, above 0 and below 1.

    Returns:
        1 if the lists are equal (two empty lists are), 0 if they share nothing.
    """
    shorter, longer = sorted((left, right), key=len)
    if not shorter:
        return float(not longer)
    common = _common(shorter, longer)
    short, long = len(shorter), len(longer)
    total = sum(common[depth - 1] / depth * persistence**depth for depth in range(1, long + 1))
    # Beyond its end the shorter list is taken to go on agreeing as much as it did so far.
    total += sum(
        common[short - 1] * (depth - short) / (short * depth) * persistence**depth
        for depth in range(short + 1, long + 1)
    )
    tail = (common[long - 1] - common[short - 1]) / long + common[short - 1] / short
    return (1 - persistence) / persistence * total + tail * persistence**long


def _common(shorter: Sequence[str], longer: Sequence[str]) -> list[int]:
    """Return the number of common ids among the first d of each list, for each depth d of the longer one."""
    seen_short: set[str] = set()
    seen_long: set[str] = set()
    counts = []
    for depth, item in enumerate(longer):
        seen_long.add(item)
        if depth < len(shorter):
            seen_short.add(shorter[depth])
        counts.append(len(seen_short & seen_long))
    return counts


def moves(left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what differs between two answers' items.

    Returns:
        `places`: by id, the place in each list from 1, None where the list does not have it; `overlap`: the number of
        common items; `rbo`: rank-biased overlap.
    """
    left_ids, right_ids = ([item["item_id"] for item in items] for items in (left, right))
    left_places, right_places = ({item: place for place, item in enumerate(ids, 1)} for ids in (left_ids, right_ids))
    return {
        "places": {
            item: {"left": left_places.get(item), "right": right_places.get(item)}
            for item in dict.fromkeys([*left_ids, *right_ids])
        },
        "overlap": len(left_places.keys() & right_places.keys()),
        "rbo": rank_biased_overlap(left_ids, right_ids),
    }


def absence(item: Mapping[str, Any], right: Sequence[Mapping[str, Any]], rules: Mapping[str, Any], asked: Any) -> str:
    """Return why an item of the left list is not in the right one, as far as the answers tell.

    Args:
        item: The item.
        right: The right list.
        rules: The right policy, by the contract's names.
        asked: The right request, with its `history`.

    Returns:
        `blocked`, `in_history`, `brand_cap`, `category_cap`, `threshold` or `less_probable`.
    """
    if item["item_id"] in rules["blocked_item_ids"]:
        return "blocked"
    if (rules["exclude_history"] or rules["exclude_purchased"]) and item["item_id"] in asked.history:
        return "in_history"
    for attribute in ("brand", "category"):
        cap = rules[f"max_per_{attribute}"]
        same = sum(bool(item[attribute]) and other[attribute] == item[attribute] for other in right)
        if cap is not None and same >= cap:
            return f"{attribute}_cap"
    is_full = len(right) >= asked.limit
    return "less_probable" if is_full or rules["min_probability"] is None else "threshold"


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return math.fsum(values) / len(values) if values else None

"""What can be said of conditions from the few attributes that the gateway knows.

Retrieval decides over the whole catalogue. The gateway decides only over popular items while retrieval is away, in
three values: an item of which nobody knows whether it passes is never recommended.
"""

from __future__ import annotations

from collections.abc import Iterable

from common.filters import AllOf, AnyOf, Filter, Match, NoneOf, Range
from services.gateway.candidates import Candidate


def passes(condition: Filter, item: Candidate) -> bool | None:
    """Return whether an item passes, None where its known attributes do not tell (Kleene's three-valued logic)."""
    match condition:
        case Match():
            return _matches(condition, item)
        case Range():
            return _within(condition, item)
        case AllOf(filters):
            return _all(passes(part, item) for part in filters)
        case AnyOf(filters):
            return _any(passes(part, item) for part in filters)
        case NoneOf(filters):
            return _not(_any(passes(part, item) for part in filters))


def _matches(condition: Match, item: Candidate) -> bool | None:
    """Decide on texts alone: how the catalogue writes a price as text is its own affair."""
    match condition.attribute:
        case "brand":
            return bool(item.brand) and item.brand in condition.values
        case "category":
            return bool(item.category) and item.category in condition.values
        case "available":
            return str(item.available).lower() in condition.values
    return None


def _within(condition: Range, item: Candidate) -> bool | None:
    if condition.attribute != "price":
        return None
    if item.price is None:
        return False
    above = condition.minimum is None or item.price >= condition.minimum
    return above and (condition.maximum is None or item.price <= condition.maximum)


def _all(decisions: Iterable[bool | None]) -> bool | None:
    seen = set(decisions)
    return False if False in seen else None if None in seen else True


def _any(decisions: Iterable[bool | None]) -> bool | None:
    return _not(_all(_not(decision) for decision in decisions))


def _not(decision: bool | None) -> bool | None:
    return None if decision is None else not decision

"""Filters over the few attributes that the gateway knows, in three values.

Retrieval evaluates filters over the whole catalogue. The gateway does so only for popular items, while retrieval does
not answer, and never recommends an item for which it cannot decide.
"""

from __future__ import annotations

from collections.abc import Iterable

from common.filters import AllOf, AnyOf, Filter, Match, NoneOf, Range
from services.gateway.candidates import Candidate


def passes(condition: Filter, item: Candidate) -> bool | None:
    """Return whether an item passes; None if its known attributes do not decide it (Kleene's three-valued logic)."""
    match condition:
        case Match():
            return _matches(condition, item)
        case Range():
            return _in_range(condition, item)
        case AllOf(filters):
            return _all(passes(part, item) for part in filters)
        case AnyOf(filters):
            return _any(passes(part, item) for part in filters)
        case NoneOf(filters):
            return _not(_any(passes(part, item) for part in filters))


def _matches(condition: Match, item: Candidate) -> bool | None:
    """Decide on texts only: how the catalogue writes a price as text is not known here."""
    match condition.attribute:
        case "brand":
            return bool(item.brand) and item.brand in condition.values
        case "category":
            return bool(item.category) and item.category in condition.values
        case "available":
            return str(item.available).lower() in condition.values
    return None


def _in_range(condition: Range, item: Candidate) -> bool | None:
    if condition.attribute != "price":
        return None
    if item.price is None:
        return False
    above = condition.minimum is None or item.price >= condition.minimum
    return above and (condition.maximum is None or item.price <= condition.maximum)


def _all(decisions: Iterable[bool | None]) -> bool | None:
    distinct = set(decisions)
    return False if False in distinct else None if None in distinct else True


def _any(decisions: Iterable[bool | None]) -> bool | None:
    return _not(_all(_not(decision) for decision in decisions))


def _not(decision: bool | None) -> bool | None:
    return None if decision is None else not decision

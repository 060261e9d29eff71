"""A user's history from recorded events, the same for every store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from common.release.event_weights import EventKind
from services.gateway.profiles.profile_store import Profile, Search

HistoryRow = tuple[str, EventKind, int]
"""An item, what was done with it, and when."""


def profile_of(rows: Sequence[HistoryRow], search: Search | None) -> Profile:
    """Return the profile of events, oldest first, and of the latest search."""
    events = _without_refunds(rows)
    item_ids, kinds, times = zip(*events, strict=True) if events else ((), (), ())
    return Profile(list(item_ids), search, kinds, times)


def _without_refunds(events: Sequence[HistoryRow]) -> Sequence[HistoryRow]:
    """Return events, oldest first, without refunds and the purchases that they take back."""
    if not any(kind is EventKind.REFUND for _, kind, _ in events):
        return events
    left_out, purchases = set(), defaultdict[str, list[int]](list)
    for place, (item_id, kind, _) in enumerate(events):
        if kind is EventKind.PURCHASE:
            purchases[item_id].append(place)
        elif kind is EventKind.REFUND:
            left_out |= {place, *([purchases[item_id].pop()] if purchases[item_id] else [])}
    return [event for place, event in enumerate(events) if place not in left_out]

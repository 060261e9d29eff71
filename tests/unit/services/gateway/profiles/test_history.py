"""A history from events; refunds are tested for every store by tests/contract/test_profiles.py."""

from __future__ import annotations

from common.release.event_weights import EventKind
from services.gateway.profiles.history import profile_of
from services.gateway.profiles.profile_store import Profile, Search


def test_a_profile_has_what_happened_in_order():
    """Items, kinds and times; a refund takes its purchase along."""
    rows = [("a", EventKind.PURCHASE, 1), ("b", EventKind.VIEW, 2), ("a", EventKind.REFUND, 3)]
    search = Search("tea", 4)
    assert profile_of(rows, search) == Profile(["b"], search, (EventKind.VIEW,), (2,))
    assert profile_of([], None) == Profile([], None, (), ())

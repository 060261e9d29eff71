"""What callers may write."""

from __future__ import annotations

from datetime import datetime

import pytest
from shortlist.client import Event, HistoryItem, Policy
from shortlist.client.requests import recommend_request


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="'bought' is not one of view, cart, purchase"):
        Event("u1", "bought", "milk")  # type: ignore[arg-type]
    history = [HistoryItem("milk", "seen")]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'seen' is not one of"):
        recommend_request("", "", history, None, None, None, explain=False)
    with pytest.raises(ValueError, match="'all' is not one of both, first, popular"):
        Policy(stages="all").message()  # type: ignore[arg-type]


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="has no time zone"):
        Event("u1", "view", "milk", occurred_at=datetime(2026, 1, 2))  # noqa: DTZ001 - the fault

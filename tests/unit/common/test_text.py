"""How items and users are put into words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.text import context_text, item_text, recent_distinct


def test_an_item_is_title_brand_category_and_description():
    """An item's text holds its parts in a fixed order, each but the title left out where blank."""
    assert item_text("Red mug", "Acme", "Kitchen", "Holds tea") == "Red mug. Acme. Kitchen. Holds tea"
    assert item_text("Red mug", "  ", "", "") == "Red mug"


def test_what_the_title_says_is_not_said_twice():
    """Brand and category that stand in the title, in any case, are not repeated."""
    assert item_text("ACME kitchen mug", "Acme", "Kitchen") == "ACME kitchen mug"


def test_a_description_is_cut():
    """No more than 300 characters of the description are read."""
    assert item_text("Mug", description="x" * 1000) == "Mug. " + "x" * 300


@given(st.lists(st.integers(0, 9)), st.integers(0, 12))
def test_recent_distinct_keeps_the_latest_of_each(history: list[int], count: int):
    """The last distinct entries come most recent first, each once."""
    found = recent_distinct(history, count)
    last_seen = {item: position for position, item in enumerate(history)}
    assert found == sorted(last_seen, key=last_seen.__getitem__, reverse=True)[:count]


def test_a_context_is_query_then_history():
    """The query stands before the titles, blank parts left out."""
    assert context_text(" mug ", ["Red mug", " ", "Tea"]) == "mug | Red mug; Tea"
    assert context_text("", ["Tea"]) == "Tea"
    assert context_text("", []) == ""

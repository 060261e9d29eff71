"""How items and users are put into words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.text import context_text, item_text, normalised, query_words, recent_distinct, title_words


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


def test_full_width_letters_and_characters_that_are_not_seen():
    """Full-width letters become half-width, control characters spaces; zero-width ones and variations are left out."""
    assert normalised(" ＭＩＬＫ\u3000５００ｍｌ ") == "MILK 500ml"
    assert normalised("mi\u200blk\tso\u00adap\x00tea \u2764\ufe0f") == "milk soap tea \u2764"
    assert normalised("Nike\u2122 shoe") == "Nike shoe"


def test_a_fraction_of_one_character_is_apart_from_the_number_before_it():
    """One and a half is not eleven halves, in the normal form and in every text that the models read."""
    assert normalised("1\u00bd in") == "1 1/2 in"
    assert normalised("\u2154 cup") == "2/3 cup"
    assert title_words("1\u00bd") == title_words("1 1/2")


def test_items_and_contexts_are_in_normal_form():
    """Every part of an item's text and of a user's context is; brands are compared with the title without case."""
    assert item_text("ＭＩＬＫ　５００ｍｌ", "Ｍｉｌｋ", "tea\u200b", "a  b\tc") == "MILK 500ml. tea. a b c"
    assert context_text("ｍｕｇ", ["Ｔｅａ", "\u200b", "a  b"]) == "mug | Tea; a b"


def test_letters_are_apart_from_digits():
    """A measure is the same words with and without a space; words have no case."""
    assert title_words("Milk 500ML") == query_words("MILK 500 ml") == ["milk", "500", "ml"]
    assert title_words("STRASSE") == title_words("straße")


def test_chinese_titles_give_characters_and_bigrams():
    """A title is found by each of its characters, and by each two that follow one another."""
    assert title_words("蒙牛牛奶500ml") == ["蒙", "牛", "牛", "奶", "蒙牛", "牛牛", "牛奶", "500", "ml"]
    assert title_words("茶、a") == ["茶", "a"]


def test_chinese_queries_give_bigrams():
    """Titles are searched for a single character only where it stands alone."""
    assert query_words("纯牛奶 茶") == ["纯牛", "牛奶", "茶"]

"""Words that are spelled nearly like a given one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from services.retrieval.catalogue.word_table import WordTable

_words = st.text("abcdé", min_size=1, max_size=9)


@given(st.sets(_words, max_size=40), st.sets(_words, max_size=10), _words, st.integers(1, 2))
def test_all_near_words_are_found(first: set[str], later: set[str], word: str, edits: int):
    """Comparing a word with every other one finds no more, whenever the words were appended."""
    table = WordTable(sorted(first))
    table.append(sorted(later - first))
    words = first | later
    expected = {other: OSA.distance(word, other) for other in words if OSA.distance(word, other) <= edits}
    assert {near.word: near.edits for near in table.near(word, edits)} == expected
    assert len(table) == len(words)


def test_swapped_letters_are_one_edit():
    """Two neighbouring letters that were swapped count once."""
    assert WordTable(["toilet"]).near("toliet", 1) == [("toilet", 1)]


def test_what_is_too_long_for_a_word_is_left_out():
    """A table without words, and a text of more letters than words have, find nothing."""
    assert not WordTable().near("milk", 2)
    assert len(WordTable(["a" * 41])) == 0
    assert not WordTable(["a" * 40]).near("a" * 41, 1)

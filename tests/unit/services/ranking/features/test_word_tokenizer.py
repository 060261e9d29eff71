"""Texts as words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ranking.features.word_tokenizer import is_number, words_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4x8wood paneling", ("4", "8", "wood", "paneling")),
        ('1-1/2 in. PVC 10"', ("1.5", "inch", "pvc", "10", "inch")),
        ("5/8 ft. x 6 feet", ("0.625", "ft", "6", "ft")),
        ("½ gal, 1½ lbs of .50 mesh", ("0.5", "gal", "1.5", "lb", "0.5", "mesh")),
        ("36\u2033 by 2\u2032 shelf", ("36", "inch", "2", "ft", "shelf")),
        ("1,000 sq. ft. heater", ("1000", "sq", "ft", "heater")),
        ("100 watt W-shape", ("100", "watt", "shape")),
        ("wax for 6' table", ("wax", "6", "ft", "table")),
        ("花王 尿布", ("花", "王", "尿", "布")),
        ("the and of", ()),
        ("3/0 hook", ("3", "0", "hook")),
    ],
)
def test_numbers_units_and_function_words(text: str, expected: tuple[str, ...]):
    """Fractions become decimals, units get one name after a number, letters part from digits, small words go."""
    assert words_of(text).all == expected


@pytest.mark.parametrize(
    ("text", "head", "subject"),
    [
        ("Swivel Rocking Chair with Blue Cushions", ("swivel", "rocking", "chair"), "chair"),
        ("36 in. Vanity Cabinet in White", ("36", "inch", "vanity", "cabinet"), "cabinet"),
        ("Picture Nails (100-Pack)", ("picture", "nails"), "nails"),
        ("Hose 50 ft.", ("hose", "50", "ft"), "hose"),
        ("for wood", ("wood",), "wood"),
    ],
)
def test_head_says_what_the_thing_is(text: str, head: tuple[str, ...], subject: str):
    """The head ends at "with", "in", "for" or a bracket; its last word that is no measure names the thing."""
    words = words_of(text)
    assert words.all[: words.head] == head
    assert words.all[words.subject] == subject


@given(st.text(max_size=200))
def test_any_text_has_words(text: str):
    """Whatever the text, places lie within the words, and words are lower-case and free of blanks."""
    words = words_of(text)
    assert -1 <= words.subject < len(words.all)
    assert 0 <= words.head <= len(words.all)
    assert all(word and not any(map(str.isspace, word)) for word in words.all)


def test_numbers_are_distinguished_from_words():
    """A word that ends in a digit is a number; letters are none."""
    assert [is_number(word) for word in ("12", "0.5", "wood", "")] == [True, True, False, False]

"""What holds of the normal form and of the words of every text."""

from __future__ import annotations

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from common.text import normalised, query_words, title_words

ascii_texts = st.text(st.characters(min_codepoint=33, max_codepoint=126))
# Those that folding, composing or leaving out could change once more the second time.
hard = st.text(
    st.sampled_from(
        "\u0130\u0345\u03b1\u0301e\u200d\u200b\ufe0f\u1fb3\u00a8 \u1e9e\ufdfa\uff21\u30fb\u725b\u5976\uff76\uff9e\x00"
    )
)


@given(text=st.text() | hard)
@example(text="e\u200d\u0301")
def test_the_normal_form_of_the_normal_form_is_itself(text: str):
    """Normalising a second time changes nothing, so that a stored text may be sent back."""
    assert normalised(normalised(text)) == normalised(text)


@given(text=ascii_texts)
def test_full_width_is_half_width(text: str):
    """Each printable character of ASCII has a full-width form, which means the same."""
    full_width = "".join(chr(ord(character) + 0xFEE0) for character in text)
    assert normalised(full_width) == text
    assert title_words(full_width) == title_words(text)
    assert query_words(full_width) == query_words(text)


@given(text=st.text() | hard)
def test_words_are_those_of_the_normal_form(text: str):
    """Neither normalising nor folding before changes the words, and no word is blank or has an unseen character."""
    words = title_words(text)
    assert words == title_words(normalised(text))
    assert all(word and not word.isspace() for word in words)
    assert not any(unicodedata.category(character) in ("Cc", "Cf") for word in words for character in word)


@given(text=st.text() | hard)
def test_a_title_has_the_words_of_the_query_that_it_is(text: str):
    """A title that is the query has all of the query's words."""
    assert set(query_words(text)) <= set(title_words(text))

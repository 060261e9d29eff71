"""What holds of plain text for every text."""

from __future__ import annotations

import re
from html import escape

from hypothesis import given
from hypothesis import strategies as st

from common.markup import plain_text

characters = st.characters(exclude_categories=["Cs", "Cc"])
texts = st.text(characters, max_size=60)
# What a browser could take for markup: a sign before a letter that a ">" or a ";" follows somewhere.
likely_markup = re.compile(r"<[A-Za-z/!?][^>]*>|<!--|&[A-Za-z0-9#]+;")
pieces = ["<", ">", "&", ";", "a", "b1", " ", "/", "!", "-", "茶", '"', "amp", "#38"]
signs = st.lists(st.sampled_from(pieces), max_size=20).map("".join)
tags = st.sampled_from(["b", "p", "td", "li", "span style='a>b'", "br/", "h1 class=x"])


@given(text=texts | signs)
def test_text_without_markup_is_unchanged(text: str):
    """Lone signs and ampersands are text."""
    if not likely_markup.search(text):
        assert plain_text(text) == text


@given(text=texts | signs)
def test_plain_text_is_plain(text: str):
    """Making it plain again changes nothing, so that a stored text may be sent back."""
    assert plain_text(plain_text(text)) == plain_text(text)


@given(words=st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=1, max_size=5), tag=tags)
def test_words_outlive_their_markup(words: list[str], tag: str):
    """Words around and inside of tags are kept and kept apart."""
    assert plain_text(f"<{tag}>".join(["", *words])) == " ".join(words)


@given(text=texts)
def test_escaped_text_is_read_back(text: str):
    """Escaping is undone, once or twice; spaces become single."""
    if not likely_markup.search(text):
        for escaped in (escape(text), escape(escape(text))):
            assert plain_text(escaped).split() == text.split()

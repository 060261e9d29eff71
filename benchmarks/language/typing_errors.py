"""Typing errors: one random edit in one word of a query."""

from __future__ import annotations

import string

import numpy as np

from common.text import spelled_words

_MIN_LETTERS = 4


def with_typing_error(query: str, generator: np.random.Generator) -> str:
    """Return a query with one letter left out, put in, replaced or swapped in a random word of four letters or more.

    A query without such a word is returned as it is.
    """
    words = [word for word in spelled_words(query) if word.is_plain and word.end - word.start >= _MIN_LETTERS]
    if not words:
        return query
    word = words[generator.integers(len(words))]
    at = word.start + int(generator.integers(word.end - word.start))
    letter = string.ascii_lowercase[generator.integers(26)]
    match generator.integers(4):
        case 0:
            return query[:at] + query[at + 1 :]
        case 1:
            return query[:at] + letter + query[at:]
        case 2:
            return query[:at] + letter + query[at + 1 :]
        case _:
            at = min(at, word.end - 2)
            return query[:at] + query[at + 1] + query[at] + query[at + 2 :]

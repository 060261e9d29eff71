"""The words of titles and queries as lexical search compares them: English ones by their stems.

On Home Depot, stems raise the recall of lexical search far more than any other change (`python -m benchmarks
language-lexical`). The stemmer is Snowball's English one (https://snowballstem.org/algorithms/english/stemmer.html);
words with other letters than those of ASCII stay as they are.
"""

from __future__ import annotations

import threading

import Stemmer

from common.text import query_words, title_words


class _Stemmers(threading.local):
    """One stemmer for each thread: a stemmer works in a buffer of its own."""

    def __init__(self) -> None:
        self.english = Stemmer.Stemmer("english")


_stemmers = _Stemmers()


def stem(word: str) -> str:
    """Return the stem of a case-folded word."""
    return str(_stemmers.english.stemWord(word)) if word.isascii() and word.isalpha() else word


def title_stems(title: str) -> list[str]:
    """Return the words of a title (`common.text.title_words`) by their stems."""
    return list(map(stem, title_words(title)))


def query_stems(query: str) -> list[str]:
    """Return the words that titles are searched for (`common.text.query_words`) by their stems."""
    return list(map(stem, query_words(query)))

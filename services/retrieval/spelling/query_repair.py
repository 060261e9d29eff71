"""Repairs the spelling of queries by the words of the catalogue.

A noisy channel (Kernighan, Church and Gale, "A spelling correction program based on a noisy channel model", 1990,
https://aclanthology.org/C90-2036): of the words within two edits, the one is taken that is the most probable between
its neighbours in the query, less a penalty for each edit. Written by hand, because it goes by the live catalogue, whose
words change while it is searched; the letters are compared by rapidfuzz.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Final

from common.text import SpelledWord, spelled_words
from services.retrieval.catalogue.delta import Delta
from services.retrieval.catalogue.word_table import NearWord
from services.retrieval.sources.bm25 import TitleBm25
from services.retrieval.spelling.title_counts import CatalogueWords, ReleaseWords

# Chosen on Home Depot's training queries (`python -m benchmarks language-lexical`). Penalties are of log probability.
_EDIT_PENALTY: Final = 5.0
_SWAP_BONUS: Final = 1.0
_FIRST_LETTER_PENALTY: Final = 1.5  # people seldom err in a word's first letter
_SPLIT_PENALTY: Final = 4.0
_OWN_SHARE: Final = 0.1  # of a word's own frequency; the rest is how often it goes with its neighbours
_FLOOR: Final = 1e-7
# Of three letters, only a lost one is repaired: any other change leads to too many words.
_MIN_LETTERS: Final = 3
_MIN_LETTERS_TWO_EDITS: Final = 7
_MIN_LETTERS_SPLIT: Final = 6
_MIN_PART_LETTERS: Final = 3
# What a query may cost.
_MAX_REPAIRS: Final = 8


class QueryRepair:
    """Repairs queries of one release. Safe for threads.

    Never changed are words that the catalogue has, numbers, model numbers, and Chinese and Japanese; nor words that the
    encoder reads as one token. Those are spelt right: "gummy bears" in a shop without bears is no "gummy bars", and the
    encoder knows what it means.

    Args:
        titles: The postings of the release's titles.
        words: The words that the encoder reads as one token each, folded.
    """

    def __init__(self, titles: TitleBm25, words: Container[str]) -> None:
        self._release = ReleaseWords(titles)
        self._words = words

    def is_known(self, query: str, delta: Delta) -> bool:
        """Return whether there is nothing to repair; takes microseconds."""
        words = CatalogueWords(self._release, delta)
        return not any(self._is_misspelt(word, words) for word in spelled_words(query))

    def repair(self, query: str, delta: Delta) -> str:
        """Return a query with the words that the catalogue does not know replaced by its own, where any is near.

        Args:
            query: In normal form (`common.text.normalised`).
            delta: The items added since the release was built.
        """
        catalogue = CatalogueWords(self._release, delta)
        words = spelled_words(query)
        is_known = [word.folded in catalogue for word in words]
        unknown = [at for at, word in enumerate(words) if self._is_misspelt(word, catalogue)][:_MAX_REPAIRS]
        pieces, end = [], 0
        for at in unknown:
            repaired = _best(words[at].folded, _neighbours(words, is_known, at), catalogue)
            if repaired:
                pieces += [query[end : words[at].start], repaired]
                end = words[at].end
        return "".join(pieces) + query[end:]

    def _is_misspelt(self, word: SpelledWord, catalogue: CatalogueWords) -> bool:
        return word.is_plain and word.folded not in catalogue and word.folded not in self._words


def _neighbours(words: Sequence[SpelledWord], is_known: Sequence[bool], at: int) -> list[str]:
    """Return the nearest word before and after one that the catalogue has."""
    before = (other for other in range(at - 1, -1, -1) if is_known[other])
    after = (other for other in range(at + 1, len(words)) if is_known[other])
    return [words[other].folded for other in (next(before, None), next(after, None)) if other is not None]


def _best(word: str, neighbours: Sequence[str], catalogue: CatalogueWords) -> str:
    """Return the most probable word, or two, that a word stands for; empty if none is near."""
    context = {other: catalogue.count(other) for other in neighbours}
    context = {other: count for other, count in context.items() if count}  # 0: a word of brands or descriptions
    scored = [
        (math.log(_probability(near.word, context, catalogue)) - _penalty(word, near), near.word)
        for near in _near(word, catalogue)
    ]
    scored += _splits(word, catalogue)
    return max(scored)[1] if scored else ""


def _near(word: str, catalogue: CatalogueWords) -> list[NearWord]:
    if len(word) < _MIN_LETTERS:
        return []
    near = catalogue.near(word, 1)
    if len(word) == _MIN_LETTERS:
        return [other for other in near if len(other.word) > len(word)]
    return near or (catalogue.near(word, 2) if len(word) >= _MIN_LETTERS_TWO_EDITS else [])


def _probability(word: str, context: dict[str, int], catalogue: CatalogueWords) -> float:
    own = catalogue.count(word) / catalogue.titles
    if not context:
        return own + _FLOOR
    with_neighbours = sum(catalogue.together(word, other) / count for other, count in context.items()) / len(context)
    return _OWN_SHARE * own + (1 - _OWN_SHARE) * with_neighbours + _FLOOR


def _penalty(word: str, near: NearWord) -> float:
    penalty = _EDIT_PENALTY * near.edits + _FIRST_LETTER_PENALTY * (word[0] != near.word[0])
    is_swap = near.edits == 1 and sorted(word) == sorted(near.word)
    return penalty - _SWAP_BONUS * is_swap


def _splits(word: str, catalogue: CatalogueWords) -> list[tuple[float, str]]:
    """Return the pairs of words of some title that a word is when the space between them was left out."""
    if len(word) < _MIN_LETTERS_SPLIT:
        return []
    found = []
    for at in range(_MIN_PART_LETTERS, len(word) - _MIN_PART_LETTERS + 1):
        first, second = word[:at], word[at:]
        if catalogue.count(first) and catalogue.count(second) and (titles := catalogue.together(first, second)):
            found.append((math.log(titles / catalogue.titles) - _SPLIT_PENALTY, f"{first} {second}"))
    return found

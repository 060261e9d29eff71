"""The words of suggestions, searched by prefix and by edit distance.

A word within one edit (Damerau-Levenshtein: a character more, less or other, or two swapped) is found by comparing the
typed word with all words at once, as columns of a matrix of characters. With one edit, a word and the typed one agree
before it, and agree after it up to a shift by one: no dynamic programming is needed. As in Lucene's fuzzy queries
(https://www.elastic.co/guide/en/elasticsearch/reference/current/common-options.html#fuzziness), typed words of fewer
than three characters must be right; the last word, which may go on, if it has fewer than four.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import BoolMask, RowIndices
from common.cache import LruCache

# The number of a word's first characters that are compared; later ones are not read.
_WIDTH: Final = 20
_MIN_FUZZY_CHARACTERS: Final = 3
_MAX_CHARACTER: Final = "\U0010ffff"
Characters = npt.NDArray[np.uint32]
_Counts = npt.NDArray[np.uint8]


class Vocabulary:
    """Distinct words in the order of their code points; a word's id is its position.

    Args:
        words: The words, sorted.
        cached: How many typed words' neighbours are cached.
    """

    def __init__(self, words: Sequence[str], cached: int = 1_000) -> None:
        self._words = words
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        # Words of similar length are adjacent: a search reads those columns alone, without copying them.
        self._by_length = np.argsort(lengths, kind="stable")
        lengths = lengths[self._by_length]
        self._lengths = np.minimum(lengths, _WIDTH)
        # Row j has every word's character j, 0 after its end. Shape [width + 1, words].
        self._characters: Characters = np.zeros((_WIDTH + 1, len(words)), dtype=np.uint32)
        for at in range(_WIDTH + 1):
            first = int(np.searchsorted(lengths, at, "right"))
            self._characters[at, first:] = [ord(words[word][at]) for word in self._by_length[first:].tolist()]
        self._near: LruCache[tuple[str, bool], RowIndices] = LruCache(cached)

    def __len__(self) -> int:
        return len(self._words)

    def find(self, typed: str, *, is_prefix: bool) -> range:
        """Return the ids of the word typed, or of the words that begin with it."""
        start = bisect_left(self._words, typed)
        if is_prefix:
            return range(start, bisect_left(self._words, typed + _MAX_CHARACTER))
        found = start < len(self._words) and self._words[start] == typed
        return range(start, start + found)

    def near(self, typed: str, *, is_prefix: bool) -> RowIndices:
        """Return the ids of words within one edit of the word typed, or that begin within one edit of it."""
        # Nearly every word begins within one edit of three characters.
        if len(typed) < _MIN_FUZZY_CHARACTERS + is_prefix or not self._words:
            return np.empty(0, dtype=np.int64)
        key = typed[:_WIDTH], is_prefix
        found = self._near.get(key)
        if found is None:
            found = self._within_one_edit(*key)
            self._near.put(key, found)
        return found

    def _within_one_edit(self, typed: str, is_prefix: bool) -> RowIndices:
        count = len(typed)
        highest = _WIDTH if is_prefix or count == _WIDTH else count + 1
        # Words of other lengths cannot match, and are most of them.
        start, stop = np.searchsorted(self._lengths, [count - 1, highest + 1]).tolist()
        characters, lengths = self._characters[:, start:stop], self._lengths[start:stop]
        edits = _Edits(characters, [ord(character) for character in typed])
        if is_prefix or count == _WIDTH:
            matched = edits.other | edits.one_less | edits.one_more | edits.swapped
        else:  # the rest of a word must be there, too
            same_length = (edits.other | edits.swapped) & (lengths == count)
            matched = (
                same_length | (edits.one_less & (lengths == count + 1)) | (edits.one_more & (lengths == count - 1))
            )
        return np.sort(self._by_length[start:stop][matched])


class _Edits:
    """By which edit the beginnings of words become a typed word.

    Args:
        words: The words' characters, 0 after their ends; shape [more than the typed ones, words].
        typed: The typed characters, at least two.

    Attributes:
        other: Words with at most one other character; shape [words].
        one_less: Words with one character that is not typed; shape [words].
        one_more: Words without one of the typed characters; shape [words].
        swapped: Words with two neighbouring characters swapped; shape [words].
    """

    def __init__(self, words: Characters, typed: Sequence[int]) -> None:
        count = len(typed)
        here = [words[at] == typed[at] for at in range(count)]
        later = [words[at + 1] == typed[at] for at in range(count)]
        earlier = [words[at] == typed[at + 1] for at in range(count - 1)]
        equal = np.zeros(words.shape[1], dtype=np.uint8)
        for mask in here:
            equal += mask
        before = _run(here)
        self.other: BoolMask = equal >= count - 1
        self.one_less: BoolMask = before + _run(later[::-1]) >= count
        self.one_more: BoolMask = before + _run(earlier[::-1]) >= count - 1
        self.swapped: BoolMask = np.zeros(words.shape[1], dtype=np.bool_)
        for at in range(count - 1):
            self.swapped |= earlier[at] & later[at] & ~here[at] & ~here[at + 1]
        self.swapped &= equal == count - 2


def _run(masks: Sequence[BoolMask]) -> _Counts:
    """Return for each word how many masks hold from the first one on without a break; shape [words]."""
    unbroken = masks[0].copy()
    run: _Counts = unbroken.astype(np.uint8)
    for mask in masks[1:]:
        unbroken &= mask
        run += unbroken
    return run

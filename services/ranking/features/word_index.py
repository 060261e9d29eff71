"""The words of a catalogue: which item has which, how rare each is, and how alike two are in their letters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from common.arrays import FloatArray, Int64Array
from common.errors import BadRelease
from common.ragged import TokenRows
from common.release import layout
from common.release.store import Release
from services.ranking.features.word_tokenizer import WordTokenizer, is_number, words_of

_PARTS: Final = ("tokens", "offsets", "heads", "subjects")


_GRAM: Final = 3


_ALIKE: Final = 0.4


class WordIndex:
    """The words of a catalogue's texts, by number.

    Attributes:
        vocabulary: Each distinct word once, in order.
        rows: The words of each item.
        heads: How many words of each item say what it is; shape [items].
        subjects: Where in each item the word stands that names the thing, -1 for none; shape [items].
        rarity: Inverse document frequency of each word in nats, as BM25 has it; float32[words].
        opening: The share of the items with a word that begin with it, as they do with brands; float32[words].
        mean_words: Words of an item in the mean.
    """

    def __init__(self, vocabulary: Sequence[str], rows: TokenRows, heads: Int64Array, subjects: Int64Array) -> None:
        self.vocabulary = list(vocabulary)
        self.rows = rows
        self.heads = heads
        self.subjects = subjects
        self._number_of = {word: number for number, word in enumerate(self.vocabulary)}
        items, words = len(rows), len(self.vocabulary)
        item_of = np.repeat(np.arange(items), rows.lengths)
        with_word = np.bincount(np.unique(item_of * words + rows.tokens) % max(words, 1), minlength=words)
        opened = np.bincount(rows.tokens[rows.offsets[:-1]], minlength=words)
        self.rarity: FloatArray = np.log1p((items - with_word + 0.5) / (with_word + 0.5)).astype(np.float32)
        self.opening: FloatArray = (opened / np.maximum(with_word, 1)).astype(np.float32)
        self.mean_words = float(rows.lengths.mean()) if items else 1.0

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Read the words of texts."""
        found = [_never_empty(words_of(text)) for text in texts]
        vocabulary = sorted({word for words in found for word in words.all})
        number_of = {word: number for number, word in enumerate(vocabulary)}
        rows = TokenRows.from_rows([[number_of[word] for word in words.all] for words in found])
        heads = np.array([words.head for words in found], np.int64)
        return cls(vocabulary, rows, heads, np.array([words.subject for words in found], np.int64))

    def save(self, folder: Path) -> None:
        """Write the lexicon into a release's folder."""
        (folder / layout.VOCABULARY).parent.mkdir(parents=True, exist_ok=True)
        (folder / layout.VOCABULARY).write_text("\n".join(self.vocabulary))
        arrays: tuple[npt.NDArray[Any], ...] = (self.rows.tokens, self.rows.offsets, self.heads, self.subjects)
        for part, array in zip(_PARTS, arrays, strict=True):
            np.save(folder / layout.words_file(part), array)

    @classmethod
    def load(cls, release: Release, items: int) -> Self:
        """Read a release's lexicon; raises BadRelease where it does not fit so many items."""
        found = (np.load(release.file(layout.words_file(part)), mmap_mode="r") for part in _PARTS)
        tokens, offsets, heads, subjects = map(np.asarray, found)
        vocabulary = release.file(layout.VOCABULARY).read_text().split("\n")
        if {len(offsets) - 1, len(heads), len(subjects)} != {items} or offsets[-1] != len(tokens):
            raise BadRelease(f"release {release.id}: the words are not those of its {items} items; build it again")
        return cls(vocabulary, TokenRows(tokens, offsets), heads, subjects)

    def number(self, word: str) -> int:
        """Return a word's number, -1 where no item has it."""
        return self._number_of.get(word, -1)

    def alike(self, word: str, numbers: Int64Array) -> FloatArray:
        """Return how alike a word is to others in its letters: 1 for itself, 0 below a share of 0.4.

        Dice's share of the letter trigrams; a number is like nothing but itself.

        Args:
            word: The word.
            numbers: The others; shape [words].
        """
        if is_number(word):
            return np.asarray(numbers == self.number(word), np.float32)
        table, grams_of = self._grams
        wanted = np.zeros(len(table) + 1, bool)
        grams = _gram_codes(word)
        place = np.searchsorted(table, grams)
        wanted[place[np.append(table, -1)[place] == grams]] = True
        rows = grams_of.take(numbers)
        shared = np.add.reduceat(wanted[rows.tokens], rows.offsets[:-1], dtype=np.float32)
        dice = 2 * shared / (len(grams) + rows.lengths)
        dice[(dice < _ALIKE) | self._is_number[numbers]] = 0
        return np.asarray(dice, np.float32)

    @cached_property
    def _is_number(self) -> npt.NDArray[np.bool_]:
        return np.fromiter(map(is_number, self.vocabulary), bool, len(self.vocabulary))

    @cached_property
    def _grams(self) -> tuple[Int64Array, TokenRows]:
        """The distinct trigrams, ascending, and each word's as places among them."""
        codes = [_gram_codes(word) for word in self.vocabulary]
        table, places = np.unique(np.concatenate(codes), return_inverse=True)
        ends = np.cumsum([len(found) for found in codes])
        return table, TokenRows(places.astype(np.int32), np.concatenate([[0], ends]))


def _never_empty(words: WordTokenizer) -> WordTokenizer:
    return words if words.all else WordTokenizer(("",), 1, -1)


def _gram_codes(word: str) -> Int64Array:
    """Return the distinct trigrams of a word between blanks, each as the number its characters make."""
    padded = f" {word} ".ljust(_GRAM)
    points = np.array([ord(character) for character in padded], np.int64)
    return np.unique((points[:-2] << 42) + (points[1:-1] << 21) + points[2:])

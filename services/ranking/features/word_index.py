"""The words of a catalogue: each item's words, how rare a word is, and how similar two words are in their letters."""

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
from services.ranking.features.word_tokenizer import TextWords, is_number, words_of

_PARTS: Final = ("tokens", "offsets", "heads", "subjects")
_GRAM_CHARACTERS: Final = 3
_MIN_SIMILARITY: Final = 0.4


class WordIndex:
    """The words of a catalogue's texts, by number.

    Attributes:
        vocabulary: Each distinct word once, in order.
        rows: The words of each item.
        heads: How many words of each item are in its head; shape [items].
        subjects: The index in each item of the word that names the thing, -1 for none; shape [items].
        idf: Each word's inverse document frequency in nats, as in BM25; float32[words].
        first_word_share: The share of the items with a word that begin with it; high for brands; float32[words].
        mean_words: The mean number of words of an item.
    """

    def __init__(self, vocabulary: Sequence[str], rows: TokenRows, heads: Int64Array, subjects: Int64Array) -> None:
        self.vocabulary = list(vocabulary)
        self.rows = rows
        self.heads = heads
        self.subjects = subjects
        self._id_of = {word: word_id for word_id, word in enumerate(self.vocabulary)}
        items, words = len(rows), len(self.vocabulary)
        item_of = np.repeat(np.arange(items), rows.lengths)
        with_word = np.bincount(np.unique(item_of * words + rows.tokens) % max(words, 1), minlength=words)
        as_first = np.bincount(rows.tokens[rows.offsets[:-1]], minlength=words)
        self.idf: FloatArray = np.log1p((items - with_word + 0.5) / (with_word + 0.5)).astype(np.float32)
        self.first_word_share: FloatArray = (as_first / np.maximum(with_word, 1)).astype(np.float32)
        self.mean_words = float(rows.lengths.mean()) if items else 1.0

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> Self:
        """Index the words of texts."""
        items = [_never_empty(words_of(text)) for text in texts]
        vocabulary = sorted({word for words in items for word in words.all})
        id_of = {word: word_id for word_id, word in enumerate(vocabulary)}
        rows = TokenRows.from_rows([[id_of[word] for word in words.all] for words in items])
        heads = np.array([words.head for words in items], np.int64)
        return cls(vocabulary, rows, heads, np.array([words.subject for words in items], np.int64))

    def save(self, folder: Path) -> None:
        """Write the index into a release's folder."""
        (folder / layout.VOCABULARY).parent.mkdir(parents=True, exist_ok=True)
        (folder / layout.VOCABULARY).write_text("\n".join(self.vocabulary))
        arrays: tuple[npt.NDArray[Any], ...] = (self.rows.tokens, self.rows.offsets, self.heads, self.subjects)
        for part, array in zip(_PARTS, arrays, strict=True):
            np.save(folder / layout.words_file(part), array)

    @classmethod
    def load(cls, release: Release, items: int) -> Self:
        """Load a release's index; raises BadRelease if it does not have ``items`` items."""
        arrays = (np.load(release.file(layout.words_file(part)), mmap_mode="r") for part in _PARTS)
        tokens, offsets, heads, subjects = map(np.asarray, arrays)
        vocabulary = release.file(layout.VOCABULARY).read_text().split("\n")
        if {len(offsets) - 1, len(heads), len(subjects)} != {items} or offsets[-1] != len(tokens):
            raise BadRelease(f"release {release.id}: the words do not belong to its {items} items; build it again")
        return cls(vocabulary, TokenRows(tokens, offsets), heads, subjects)

    def word_id(self, word: str) -> int:
        """Return a word's id, -1 if no item has it."""
        return self._id_of.get(word, -1)

    def similarities(self, word: str, word_ids: Int64Array) -> FloatArray:
        """Return the similarity of a word's letters to other words: 1 for itself, 0 below 0.4.

        The similarity is Dice's coefficient of the letter trigrams; a number is similar only to itself.

        Args:
            word: The word.
            word_ids: The other words; shape [words].
        """
        if is_number(word):
            return np.asarray(word_ids == self.word_id(word), np.float32)
        table, grams_of = self._grams
        in_word = np.zeros(len(table) + 1, bool)
        grams = _gram_codes(word)
        index = np.searchsorted(table, grams)
        in_word[index[np.append(table, -1)[index] == grams]] = True
        rows = grams_of.take(word_ids)
        shared = np.add.reduceat(in_word[rows.tokens], rows.offsets[:-1], dtype=np.float32)
        dice = 2 * shared / (len(grams) + rows.lengths)
        dice[(dice < _MIN_SIMILARITY) | self._is_number[word_ids]] = 0
        return np.asarray(dice, np.float32)

    @cached_property
    def _is_number(self) -> npt.NDArray[np.bool_]:
        return np.fromiter(map(is_number, self.vocabulary), bool, len(self.vocabulary))

    @cached_property
    def _grams(self) -> tuple[Int64Array, TokenRows]:
        """The distinct trigrams, ascending, and the indices of each word's trigrams among them."""
        codes = [_gram_codes(word) for word in self.vocabulary]
        table, indices = np.unique(np.concatenate(codes), return_inverse=True)
        ends = np.cumsum([len(grams) for grams in codes])
        return table, TokenRows(indices.astype(np.int32), np.concatenate([[0], ends]))


def _never_empty(words: TextWords) -> TextWords:
    return words if words.all else TextWords(("",), 1, -1)


def _gram_codes(word: str) -> Int64Array:
    """Return the distinct trigrams of a word between blanks, each as one number made of its characters."""
    padded = f" {word} ".ljust(_GRAM_CHARACTERS)
    points = np.array([ord(character) for character in padded], np.int64)
    return np.unique((points[:-2] << 42) + (points[1:-1] << 21) + points[2:])

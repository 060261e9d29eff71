"""The words of a catalogue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.errors import BadRelease
from common.release.store import Release
from services.ranking.features.word_index import WordIndex

TEXTS = ["Acme garden hose", "Acme hose reel", "Garden gnome", "", "Acme Acme"]


@pytest.fixture
def index() -> WordIndex:
    """The words of five texts, one of them empty."""
    return WordIndex.from_texts(TEXTS)


def _value(index: WordIndex, values: np.ndarray, word: str) -> float:
    return float(values[index.word_id(word)])


def test_rarity_counts_items_not_occurrences(index: WordIndex):
    """Three of five items have "acme", one of them twice."""
    assert _value(index, index.idf, "acme") == pytest.approx(np.log(1 + (5 - 3 + 0.5) / 3.5))
    assert _value(index, index.idf, "gnome") == pytest.approx(np.log(1 + (5 - 1 + 0.5) / 1.5))


def test_opening_is_the_share_of_items_that_begin_with_a_word(index: WordIndex):
    """Every item with "acme" begins with it, one of two with "garden"."""
    assert [_value(index, index.first_word_share, word) for word in ("acme", "garden", "hose")] == [1.0, 0.5, 0.0]


def test_words_are_alike_by_their_trigrams(index: WordIndex):
    """Dice's share: "gardne" has three of the trigrams of "garden", each has six of them."""
    numbers = np.array([index.word_id(word) for word in ("garden", "gnome")])
    np.testing.assert_allclose(index.similarities("garden", numbers), [1.0, 0.0])
    np.testing.assert_allclose(index.similarities("gardne", numbers), [2 * 3 / 12, 0.0])
    assert index.similarities("xyz", numbers).tolist() == [0.0, 0.0]


def test_numbers_are_like_themselves_alone():
    """1000 is not nearly 100."""
    index = WordIndex.from_texts(["100 watt", "1000 watt"])
    numbers = np.array([index.word_id("100"), index.word_id("1000")])
    assert index.similarities("1000", numbers).tolist() == [0.0, 1.0]


def test_a_saved_index_comes_back_and_fits_its_items(release_of: Callable[[Callable[[Path], object]], Release]):
    """What is read is what was written; for another number of items it is refused."""
    written = WordIndex.from_texts(TEXTS)
    release = release_of(written.save)
    read = WordIndex.load(release, len(TEXTS))
    assert read.vocabulary == written.vocabulary
    for name in ("heads", "subjects", "idf", "first_word_share"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    np.testing.assert_array_equal(read.rows.tokens, written.rows.tokens)
    with pytest.raises(BadRelease, match="words"):
        WordIndex.load(release, len(TEXTS) + 1)

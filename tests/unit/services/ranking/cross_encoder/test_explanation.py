"""The parts of a text that are removed one at a time."""

from __future__ import annotations

import numpy as np
import pytest

from common.onnx_session import SessionOptions
from common.release.store import Release
from services.ranking.cascade.models import RankingModels
from services.ranking.cross_encoder.explanation import MAX_WORDS, Contribution, OccludedPairs, words_in
from services.ranking.late_interaction.scorer import LateInteractionOptions
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.request import UserRows


@pytest.fixture(scope="module")
def tokenizer(ranking_release: Release) -> PairTokenizer:
    """The tokenizer of a small release."""
    return RankingModels.load(ranking_release, SessionOptions(), LateInteractionOptions()).tokenizer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fresh milk, 2 l", ["fresh", "milk,", "2", "l"]),
        ("有机牛奶", ["有", "机", "牛", "奶"]),
        ("有机 milk250ml牛奶", ["有", "机", "milk250ml", "牛", "奶"]),
        ("さくら茶", ["さ", "く", "ら", "茶"]),
        ("", []),
        ("  ", []),
    ],
)
def test_words_are_characters_where_nothing_separates_them(text: str, words: list[str]):
    """Chinese and Japanese characters are parts of their own; other words end at spaces."""
    assert words_in(text) == words


def test_each_part_is_left_out_once(tokenizer: PairTokenizer):
    """First the whole pair, then one without each word of the item, of the query, and each history item."""
    pairs = OccludedPairs.of(UserRows(np.array([3, 9]), "red 牛奶"), "fresh 面包", tokenizer)
    assert pairs.texts == ["fresh 面包", "面包", "fresh 包", "fresh 面"]
    contexts = [("red 牛奶", [9, 3]), ("牛奶", [9, 3]), ("red 奶", [9, 3]), ("red 牛", [9, 3])]
    contexts += [("red 牛奶", [3]), ("red 牛奶", [9])]
    for found, expected in zip(pairs.contexts, contexts, strict=True):
        np.testing.assert_array_equal(found, tokenizer.context(*expected))
    assert list(zip(pairs.context_of.tolist(), pairs.text_of.tolist(), strict=True)) == [
        *((0, text) for text in range(4)),
        *((context, 0) for context in range(1, 6)),
    ]


def test_contributions_are_differences_to_the_whole(tokenizer: PairTokenizer):
    """Each part has its name and the whole's scores less its own pair's."""
    pairs = OccludedPairs.of(UserRows(np.array([3]), "red"), "fresh milk", tokenizer)
    explanation = pairs.explanation([5.0, 4.0, 6.0, 2.0, 5.0], [1.0, 0.5, 1.5, 0.0, 1.0])
    assert explanation.logit == 5.0
    assert explanation.item_words == [Contribution("fresh", 1.0, 0.5), Contribution("milk", -1.0, -0.5)]
    assert explanation.query_words == [Contribution("red", 3.0, 1.0)]
    assert explanation.history_items == [Contribution(3, 0.0, 0.0)]


def test_only_the_first_words_are_explained(tokenizer: PairTokenizer):
    """Words beyond the maximum stay in every pair."""
    text = " ".join(f"w{number}" for number in range(MAX_WORDS + 3))
    pairs = OccludedPairs.of(UserRows(np.empty(0, np.int64)), text, tokenizer)
    assert len(pairs.item_words) == MAX_WORDS
    assert all(shorter.endswith(f"w{MAX_WORDS + 2}") for shorter in pairs.texts)

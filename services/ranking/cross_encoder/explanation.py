"""What the models read without one word or history item, to see what that part changes (occlusion).

A part's contribution is the score minus the score without the part (Zeiler and Fergus, "Visualizing and understanding
convolutional networks", ECCV 2014).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import Int64Array, TokenIds
from common.ragged import TokenRows
from common.text import IDEOGRAPHS
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import UserRows

MAX_WORDS: Final = 32
_PART: Final = re.compile(rf"[{IDEOGRAPHS}]|[^\s{IDEOGRAPHS}]+")


@dataclass(frozen=True)
class Contribution:
    """One part, a word or a history item's catalogue row, and its contributions.

    Attributes:
        part: The part.
        logit: What it adds to the cross-encoder's logit.
        log_odds: What it adds to the log-odds of the probability.
    """

    part: str | int
    logit: float
    log_odds: float


@dataclass(frozen=True)
class Explanation:
    """The contributions of the parts.

    Attributes:
        logit: The logit with all parts.
        item_words: The first words of the item, in order.
        query_words: The first words of the query, in order.
        history_items: The history items that the models read, the most recent first.
    """

    logit: float
    item_words: list[Contribution]
    query_words: list[Contribution]
    history_items: list[Contribution]


@dataclass(frozen=True)
class OccludedPairs:
    """A user context and an item's text: whole first, then without each part.

    Attributes:
        texts: The item's text, whole, then without each of its words.
        contexts: The user context, whole, then without each word of the query and each history item.
        item_words: The words of the item.
        query_words: The words of the query.
        history: The catalogue rows of the history items.
    """

    texts: list[str]
    contexts: list[TokenIds]
    item_words: list[str]
    query_words: list[str]
    history: list[int]

    @classmethod
    def of(cls, user: UserRows, item: str, tokenizer: PairTokenizer) -> OccludedPairs:
        """Return the pairs of a user and an item's text."""
        query, history = user.query, tokenizer.context_items(user.history)
        item_words, query_words = words_in(item), words_in(query)
        contexts = [tokenizer.context(query, history)]
        contexts += [tokenizer.context(shorter, history) for shorter in _without_each(query)]
        contexts += [tokenizer.context(query, history[:at] + history[at + 1 :]) for at in range(len(history))]
        return cls([item, *_without_each(item)], contexts, item_words, query_words, history)

    @property
    def context_of(self) -> Int64Array:
        """Each pair's context, by index; int64[1 + parts]."""
        return np.concatenate([np.zeros(len(self.texts), np.int64), np.arange(1, len(self.contexts))])

    @property
    def text_of(self) -> Int64Array:
        """Each pair's text, by index; int64[1 + parts]."""
        return np.concatenate([np.arange(len(self.texts)), np.zeros(len(self.contexts) - 1, np.int64)])

    def tokens(self, tokenizer: PairTokenizer) -> TokenPairs:
        """Return the pairs as the cross-encoder reads them."""
        texts = tokenizer.tokens(self.texts, tokenizer.settings.item_tokens)
        return tokenizer.template.join(TokenRows.from_rows(self.contexts), self.context_of, texts.take(self.text_of))

    def explanation(self, logits: Sequence[float], log_odds: Sequence[float]) -> Explanation:
        """Return the contributions, given the logit and the log-odds of each pair."""
        parts: list[str | int] = [*self.item_words, *self.query_words, *self.history]
        all_parts = [
            Contribution(part, logits[0] - logit, log_odds[0] - odds)
            for part, logit, odds in zip(parts, logits[1:], log_odds[1:], strict=True)
        ]
        middle, end = len(self.item_words), len(self.item_words) + len(self.query_words)
        return Explanation(logits[0], all_parts[:middle], all_parts[middle:end], all_parts[end:])


def words_in(text: str) -> list[str]:
    """Return the first words of a text; a character of a script without spaces is a word."""
    return _PART.findall(text)[:MAX_WORDS]


def _without_each(text: str) -> list[str]:
    """Return the text without its first, second, … word."""
    spans = [found.span() for found in _PART.finditer(text)][:MAX_WORDS]
    return [" ".join(f"{text[:start]}{text[end:]}".split()) for start, end in spans]

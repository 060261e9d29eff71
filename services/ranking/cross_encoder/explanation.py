"""Explains a pair's logit by words and history items: each part is removed in turn, and the pair read again.

A part's contribution is the logit minus the logit without the part (occlusion; Zeiler and Fergus, 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.ragged import TokenRows
from services.ranking.batching.batcher import Batcher
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import CallContext, UserRows

MAX_WORDS: Final = 32


@dataclass(frozen=True)
class Contribution:
    """One part, a word or a history item's catalogue row, and its contribution to the logit."""

    part: str | int
    logit: float


@dataclass(frozen=True)
class Explanation:
    """The contributions to a logit.

    Attributes:
        logit: The logit with all parts.
        item_words: The first words of the item, in order.
        query_words: The first words of the query, in order.
        history_items: The history items that the cross-encoder reads, the most recent first.
    """

    logit: float
    item_words: list[Contribution]
    query_words: list[Contribution]
    history_items: list[Contribution]


async def explain_logit(
    user: UserRows, item: str, tokenizer: PairTokenizer, batcher: Batcher, call: CallContext
) -> Explanation:
    """Explain the logit of an item's text for a user.

    Raises:
        DeadlineTooShort, Overloaded: As `Batcher.score` does.
    """
    item_words, query_words = item.split()[:MAX_WORDS], user.query.split()[:MAX_WORDS]
    history = tokenizer.context_items(user.history)
    pairs = _pairs(tokenizer, _without_each(item), _without_each(user.query), user.query, history)
    scores = await batcher.score(pairs, call)
    logit, *logits_without = scores.logits.tolist()
    contributions = [logit - without for without in logits_without]
    middle, end = len(item_words), len(item_words) + len(query_words)
    return Explanation(
        logit,
        _contributions(item_words, contributions[:middle]),
        _contributions(query_words, contributions[middle:end]),
        _contributions(history, contributions[end:]),
    )


def _pairs(
    tokenizer: PairTokenizer, items: list[str], queries: list[str], query: str, history: list[int]
) -> TokenPairs:
    """Return the whole pair, then one pair for each word of item and query and each history item left out."""
    contexts = [tokenizer.context(query, history)]
    contexts += [tokenizer.context(shorter, history) for shorter in queries[1:]]
    contexts += [tokenizer.context(query, history[:index] + history[index + 1 :]) for index in range(len(history))]
    context_of = np.concatenate([np.zeros(len(items), np.int64), np.arange(1, len(contexts))])
    item_tokens = tokenizer.tokens(items, tokenizer.settings.item_tokens)
    item_of = np.concatenate([np.arange(len(items)), np.zeros(len(contexts) - 1, np.int64)])
    return tokenizer.template.join(TokenRows.from_rows(contexts), context_of, item_tokens.take(item_of))


def _without_each(text: str) -> list[str]:
    """Return the text, then the text without its first, second, … word."""
    words = text.split()
    return [text, *(" ".join(words[:index] + words[index + 1 :]) for index in range(min(len(words), MAX_WORDS)))]


def _contributions(parts: Sequence[str | int], logits: list[float]) -> list[Contribution]:
    return [Contribution(part, logit) for part, logit in zip(parts, logits, strict=True)]

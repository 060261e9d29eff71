"""Which words and which history items moved a pair's logit: each is left out in turn, and the pair read again.

A contribution is the logit as it is less the logit without the part (occlusion; Zeiler and Fergus, 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.ragged import TokenRows
from services.ranking.batching.batcher import Batcher
from services.ranking.batching.job import CallContext
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.pairs.pair_tokens import TokenPairs
from services.ranking.request import UserRows

MAX_WORDS: Final = 32


@dataclass(frozen=True)
class Contribution:
    """One part, a word or a history item's catalogue row, and how it moved the logit."""

    part: str | int
    logit: float


@dataclass(frozen=True)
class Explanation:
    """What moved a logit.

    Attributes:
        logit: With every part in place.
        item_words: The first words of the item, in order.
        query_words: The first words of the query, in order.
        history_items: The history items that the cross-encoder reads, the most recent first.
    """

    logit: float
    item_words: list[Contribution]
    query_words: list[Contribution]
    history_items: list[Contribution]


async def explain(user: UserRows, item: str, texts: PairTokenizer, batcher: Batcher, terms: CallContext) -> Explanation:
    """Explain the logit of an item's text for a user.

    Raises:
        DeadlineTooShort, Overloaded: As the batcher does.
    """
    item_words, query_words = item.split()[:MAX_WORDS], user.query.split()[:MAX_WORDS]
    history = texts.context_items(user.history)
    pairs = _pairs(texts, _without_each(item), _without_each(user.query), user.query, history)
    scores = await batcher.score(pairs, terms.deadline, terms.priority, terms.owner)
    logit, *left = scores.logits.tolist()
    contributions = [logit - without for without in left]
    middle, end = len(item_words), len(item_words) + len(query_words)
    return Explanation(
        logit,
        _contributions(item_words, contributions[:middle]),
        _contributions(query_words, contributions[middle:end]),
        _contributions(history, contributions[end:]),
    )


def _pairs(texts: PairTokenizer, items: list[str], queries: list[str], query: str, history: list[int]) -> TokenPairs:
    """Join the whole pair, then one pair for each word of item and query and each history item left out."""
    contexts = [texts.context(query, history)]
    contexts += [texts.context(shorter, history) for shorter in queries[1:]]
    contexts += [texts.context(query, history[:place] + history[place + 1 :]) for place in range(len(history))]
    context_of = np.concatenate([np.zeros(len(items), np.int64), np.arange(1, len(contexts))])
    item_tokens = texts.tokens(items, texts.settings.item_tokens)
    item_of = np.concatenate([np.arange(len(items)), np.zeros(len(contexts) - 1, np.int64)])
    return texts.template.join(TokenRows.from_rows(contexts), context_of, item_tokens.take(item_of))


def _without_each(text: str) -> list[str]:
    """Return the text, then the text without its first, second, … word."""
    words = text.split()
    return [text, *(" ".join(words[:place] + words[place + 1 :]) for place in range(min(len(words), MAX_WORDS)))]


def _contributions(parts: Sequence[str | int], logits: list[float]) -> list[Contribution]:
    return [Contribution(part, logit) for part, logit in zip(parts, logits, strict=True)]

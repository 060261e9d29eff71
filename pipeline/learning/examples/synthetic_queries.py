"""Synthetic queries for judged lists, to augment the data of distillation (as in TinyBERT; arXiv 1909.10351).

Judgements are expensive, and a model trained on judged pairs alone sees few query words and memorises lists. The
teacher can score any pair: the items of a list with another judged query, with part of their own, and with words of
their titles. The student encodes an item once for all queries of its list, so these cost almost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.learning.examples.judged_queries import JudgedQuery

# The nearest judged query, a part of the list's own query, and queries from titles.
_FROM_TITLES: Final = 2
QUERIES_PER_LIST: Final = 2 + _FROM_TITLES
_MIN_WORDS, _MAX_WORDS = 2, 4


def synthetic_queries(
    queries: Sequence[JudgedQuery], vectors: npt.NDArray[np.float32], title: Callable[[int], str], seed: int
) -> list[JudgedQuery]:
    """Return ``QUERIES_PER_LIST`` queries over each list's items, one list's after the other; their grades are NaN.

    Args:
        queries: The judged queries.
        vectors: Their unit vectors; float32 [queries, width].
        title: Returns a catalogue row's title.
        seed: Seed of what is labelled.
    """
    generator = np.random.default_rng(seed)
    synthetic: list[JudgedQuery] = []
    for one, vector, place in zip(queries, vectors, range(len(queries)), strict=True):
        rows = generator.choice(one.rows, _FROM_TITLES + 1)
        titles = [_words_of(title(int(row)), generator) for row in rows]
        texts = [_nearest(queries, vectors @ vector, place), _shortened(one.query, generator) or titles[-1]]
        unknown = np.full(len(one.rows), np.nan, np.float32)
        synthetic += [JudgedQuery(text, one.rows, unknown) for text in [*texts, *titles[:_FROM_TITLES]]]
    return synthetic


def _nearest(queries: Sequence[JudgedQuery], cosines: npt.NDArray[np.float32], place: int) -> str:
    """Return the nearest other query; the only one's nearest is itself."""
    cosines[place] = -np.inf
    return queries[int(cosines.argmax())].query


def _shortened(query: str, generator: np.random.Generator) -> str:
    """Leave out one word; "" if there is but one."""
    words = query.split()
    if len(words) < _MIN_WORDS:
        return ""
    left_out = generator.integers(len(words))
    return " ".join(word for place, word in enumerate(words) if place != left_out)


def _words_of(title: str, generator: np.random.Generator) -> str:
    """Sample some of a title's words, in their order."""
    words = title.split()
    count = min(len(words), int(generator.integers(_MIN_WORDS, _MAX_WORDS + 1)))
    return " ".join(words[place] for place in np.sort(generator.permutation(len(words))[:count]))

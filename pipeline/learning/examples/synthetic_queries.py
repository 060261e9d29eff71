"""Queries made for judged lists of items, to have the cross-encoder read: a small model learns from what it says.

Judgements are dear, and a model that learns from their pairs alone meets few words of queries and remembers lists. A
teacher reads any pair: the items of a list beside another judged query, beside a part of their own, and beside words
of their titles (augmented data for distillation, as in TinyBERT; Jiao et al., arXiv 1909.10351). An item is read once
for all of its list's queries, so that these cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.learning.examples.judged_queries import JudgedQuery

# The nearest judged query, a part of the list's own, and so many of titles.
_FROM_TITLES: Final = 2


QUERIES_PER_LIST: Final = 2 + _FROM_TITLES


_FEWEST_WORDS, _MOST_WORDS = 2, 4


def synthetic_queries(
    queries: Sequence[JudgedQuery], vectors: npt.NDArray[np.float32], title: Callable[[int], str], seed: int
) -> list[JudgedQuery]:
    """Return ``QUERIES_PER_LIST`` queries over each list's items, one list's after the other; their grades are NaN.

    Args:
        queries: The judged queries.
        vectors: Their unit vectors; float32 [queries, width].
        title: Returns a catalogue row's title.
        seed: Of what is drawn.
    """
    generator = np.random.default_rng(seed)
    made: list[JudgedQuery] = []
    for one, vector, place in zip(queries, vectors, range(len(queries)), strict=True):
        rows = generator.choice(one.rows, _FROM_TITLES + 1)
        titles = [_words_of(title(int(row)), generator) for row in rows]
        texts = [_nearest(queries, vectors @ vector, place), _shortened(one.query, generator) or titles[-1]]
        unknown = np.full(len(one.rows), np.nan, np.float32)
        made += [JudgedQuery(text, one.rows, unknown) for text in [*texts, *titles[:_FROM_TITLES]]]
    return made


def _nearest(queries: Sequence[JudgedQuery], cosines: npt.NDArray[np.float32], place: int) -> str:
    """Return the nearest other query; the only one's nearest is itself."""
    cosines[place] = -np.inf
    return queries[int(cosines.argmax())].query


def _shortened(query: str, generator: np.random.Generator) -> str:
    """Leave out one word; "" where there is but one."""
    words = query.split()
    if len(words) < _FEWEST_WORDS:
        return ""
    left_out = generator.integers(len(words))
    return " ".join(word for place, word in enumerate(words) if place != left_out)


def _words_of(title: str, generator: np.random.Generator) -> str:
    """Draw some of a title's words, in their order."""
    words = title.split()
    count = min(len(words), int(generator.integers(_FEWEST_WORDS, _MOST_WORDS + 1)))
    return " ".join(words[place] for place in np.sort(generator.permutation(len(words))[:count]))

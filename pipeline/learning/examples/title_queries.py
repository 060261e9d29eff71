"""Searches made from a catalogue's titles, for shops without events and judgements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from common.text import folded
from pipeline.data.dataset.training_requests import searchable_words, title_query
from pipeline.learning.examples.judged_queries import JudgedQuery

# A word of very many titles is in the random items anyway.
_MAX_SHARING: Final = 1_000


def title_queries(titles: Sequence[str], *, count: int, list_size: int, seed: int) -> list[JudgedQuery]:
    """Return searches for one to three words of a title, each with the item, items that share a word, and others.

    An item whose title has all words of the query has grade 1, any other 0.

    Args:
        titles: The items' titles, by catalogue row.
        count: Maximum number of searches.
        list_size: Maximum number of items of a search.
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    words = [frozenset(searchable_words(title)) for title in titles]
    sharing = _rows_by_word(words)
    queries: dict[str, JudgedQuery] = {}
    for row in generator.permutation(len(titles))[:count].tolist():
        query = title_query(titles[row], generator) or folded(titles[row])
        if query in queries:
            continue
        wanted = frozenset(query.split())
        rows = _listed(row, sorted(wanted), sharing, len(titles), list_size, generator)
        has_all = [other == row or (bool(words[other]) and wanted <= words[other]) for other in rows]
        queries[query] = JudgedQuery(query, np.array(rows, np.int64), np.array(has_all, np.float32))
    return list(queries.values())


def _rows_by_word(words: Sequence[frozenset[str]]) -> Mapping[str, Sequence[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for row, known in enumerate(words):
        for word in known:
            if len(found[word]) < _MAX_SHARING:
                found[word].append(row)
    return found


def _listed(
    row: int,
    wanted: Sequence[str],
    sharing: Mapping[str, Sequence[int]],
    items: int,
    size: int,
    generator: np.random.Generator,
) -> list[int]:
    """Return the item, up to half a list of items that share a word, and random ones; each once, sorted."""
    near = sorted({other for word in wanted for other in sharing.get(word, ())} - {row})
    chosen = {row, *generator.permutation(near)[: size // 2].astype(int).tolist()}
    chosen |= set(generator.permutation(items)[: size - len(chosen)].tolist())
    return sorted(chosen)

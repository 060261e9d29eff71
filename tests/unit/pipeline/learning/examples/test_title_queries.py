"""Searches made from titles."""

from __future__ import annotations

import numpy as np

from pipeline.learning.examples.title_queries import title_queries

TITLES = ["Green tea, 20 bags", "Black tea", "Green lamp", "501", "Oak chair", "Pine chair", "Red cup", "Blue cup"]


def test_a_search_has_its_item_and_others():
    """Items with all words of the query have grade 1; some of the others share a word with it."""
    queries = title_queries(TITLES, count=8, list_size=5, seed=3)
    assert len({one.query for one in queries}) == len(queries) > 3
    for one in queries:
        wanted = set(one.query.split())
        has_all = [wanted <= set(TITLES[row].casefold().replace(",", "").split()) for row in one.rows]
        assert one.grades.tolist() == [float(fits) for fits in has_all]
        assert one.grades.max() == 1
        assert len(set(one.rows.tolist())) == len(one.rows) <= 5


def test_a_title_without_words_is_searched_for_whole():
    """Numbers are no words, but may be all that a title has."""
    queries = {one.query: one for one in title_queries(TITLES, count=8, list_size=5, seed=3)}
    assert queries["501"].rows[queries["501"].grades == 1].tolist() == [3]


def test_searches_are_the_same_for_a_seed():
    """Another seed makes others."""
    first, again, other = (
        [(one.query, one.rows.tolist()) for one in title_queries(TITLES, count=4, list_size=3, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_the_number_of_searches_is_bounded():
    """Titles that give the same search give it once."""
    assert len(title_queries(["Tea"] * 9, count=5, list_size=4, seed=1)) == 1
    many = title_queries([f"word{chr(97 + n % 26)}" * 2 for n in range(26)], count=7, list_size=4, seed=1)
    assert len(many) <= 7
    assert all(np.all(one.rows[:-1] < one.rows[1:]) for one in many)

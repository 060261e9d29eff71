"""Queries made for judged lists."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.learning.examples.judged_queries import JudgedQuery
from pipeline.learning.examples.synthetic_queries import QUERIES_PER_LIST, synthetic_queries

TITLES = ("Angle iron 4 ft", "Wood screw 2 in", "Bolt", "Deck paint for outside use")
VECTORS = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)


@pytest.fixture
def queries() -> list[JudgedQuery]:
    """Three queries, of which the second is nearest to either of the others; the last one is a single word."""
    lists = (("angle iron", [0, 1]), ("long wood screws", [1]), ("paint", [2, 3]))
    return [JudgedQuery(text, np.array(rows), np.ones(len(rows), np.float32)) for text, rows in lists]


def _made(queries: list[JudgedQuery], seed: int) -> list[list[JudgedQuery]]:
    vectors = np.tile(VECTORS, (len(queries) // len(VECTORS), 1))
    made = synthetic_queries(queries, vectors, TITLES.__getitem__, seed)
    return [made[start : start + QUERIES_PER_LIST] for start in range(0, len(made), QUERIES_PER_LIST)]


def test_every_list_gets_as_many_queries_over_its_own_items_and_no_grades(queries: list[JudgedQuery]):
    """What nobody judged is never taken for a judgement."""
    made = _made(queries, 1)
    assert [len(of_list) for of_list in made] == [QUERIES_PER_LIST] * len(queries)
    for one, of_list in zip(queries, made, strict=True):
        assert all((new.rows == one.rows).all() for new in of_list)
        assert all(new.grades.shape == one.grades.shape and np.isnan(new.grades).all() for new in of_list)


@pytest.mark.parametrize("seed", range(20))
def test_they_are_a_neighbour_a_part_and_words_of_the_lists_titles(queries: list[JudgedQuery], seed: int):
    """The nearest other query; the own one without a word; words of titles in their order, as many as queries have."""
    made = _made(queries, seed)
    assert [of_list[0].query for of_list in made] == ["long wood screws", "angle iron", "long wood screws"]
    assert made[0][1].query in {"angle", "iron"}
    assert made[1][1].query in {"long wood", "long screws", "wood screws"}
    of_titles = [(one, new) for one, of_list in zip(queries, made, strict=True) for new in of_list[2:]]
    for one, new in [*of_titles, (queries[2], made[2][1])]:
        assert any(_is_part(new.query.split(), TITLES[row].split()) for row in one.rows)


def _is_part(words: list[str], title: list[str]) -> bool:
    left = iter(title)
    return len(words) in range(min(2, len(title)), 5) and all(word in left for word in words)


def test_the_seed_draws_them(queries: list[JudgedQuery]):
    """The same one draws the same queries, another one others."""
    texts = [[new.query for of_list in _made(queries * 20, seed) for new in of_list] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]

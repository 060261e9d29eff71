"""Judged searches as training data."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer, models

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from pipeline.learning.examples.judged_queries import (
    TEST,
    JudgedQuery,
    fingerprint,
    folds_of,
    judged_queries,
    learn_and_hold_out,
    part_by_items,
    training_queries,
)
from pipeline.release.artifacts.catalogue import build_catalogue


@pytest.fixture
def catalogue() -> Catalogue:
    """Three items, a to c."""
    items = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["Ax", "Bolt", "Cord"]})
    return build_catalogue(items, Tokenizer(models.WordLevel({"?": 0}, "?")), 4)


@pytest.fixture
def judgements() -> pl.DataFrame:
    """Two training queries, one without a split, and one of the test part with a higher grade."""
    rows = [("cut", "a", 2.0, "train"), ("cut", "b", 1.0, "train"), ("bind", "c", 1.0, None), ("zip", "b", 4.0, "test")]
    return pl.DataFrame(rows, schema=["query", "item_id", "relevance", "split"], orient="row")


def test_test_queries_are_never_learnt_from(judgements: pl.DataFrame, catalogue: Catalogue):
    """Neither their pairs nor their highest grade have a part in training; what has no split has."""
    queries = training_queries(judgements, catalogue)
    assert [one.query for one in queries] == ["bind", "cut"]
    assert queries[1].rows.tolist() == [0, 1]
    assert queries[1].grades.tolist() == [1.0, 0.5]
    assert [one.query for one in judged_queries(judgements, catalogue, TEST)] == ["zip"]
    assert judged_queries(judgements, catalogue, TEST)[0].grades.tolist() == [2.0]


def test_without_splits_every_query_is_learnt_from(judgements: pl.DataFrame, catalogue: Catalogue):
    """Sources such as WANDS do not part their judgements."""
    assert len(training_queries(judgements.drop("split"), catalogue)) == 3


def test_nothing_to_learn_from_is_refused(judgements: pl.DataFrame, catalogue: Catalogue):
    """No judgements, those of the test part alone, or nothing relevant: each says so."""
    for given in (None, judgements.filter(pl.col("split") == "test"), judgements.with_columns(relevance=0.0)):
        with pytest.raises(InvalidRequest, match="judgements"):
            training_queries(given, catalogue)


def test_folds_are_even_and_drawn_by_the_seed(judgements: pl.DataFrame, catalogue: Catalogue):
    """Every fold has as many queries, give or take one; another seed draws others."""
    queries = training_queries(judgements, catalogue) * 50
    fold = folds_of(queries, 3, seed=1)
    assert np.ptp(np.bincount(fold)) <= 1
    assert (fold == folds_of(queries, 3, seed=1)).all()
    assert (fold != folds_of(queries, 3, seed=2)).any()


def test_fingerprint_tells_other_judgements_apart(judgements: pl.DataFrame, catalogue: Catalogue):
    """Another grade or another item makes another fingerprint; the same queries the same."""
    prints = {
        fingerprint(training_queries(changed, catalogue))
        for changed in (
            judgements,
            judgements.with_columns(relevance=pl.col("relevance") / 2 + 0.5),
            judgements.with_columns(item_id=pl.lit("a")),
            judgements.head(4),
        )
    }
    assert len(prints) == 3


def test_queries_are_held_out_by_split_or_by_a_hash(judgements: pl.DataFrame, catalogue: Catalogue):
    """The split `test` if there is one, else a tenth; none of none."""
    learned, held_out = learn_and_hold_out(judgements, catalogue, 100)
    assert ([one.query for one in learned], [one.query for one in held_out]) == (["bind", "cut"], ["zip"])
    many = pl.DataFrame({"query": [f"q{number:02d}" for number in range(40)], "item_id": "a", "relevance": 1.0})
    learned, held_out = learn_and_hold_out(many, catalogue, 100)
    assert (len(learned), len(held_out)) == (36, 4)
    assert learn_and_hold_out(None, catalogue, 100) == ([], [])
    assert learn_and_hold_out(many.with_columns(relevance=0.0), catalogue, 100) == ([], [])


def test_parts_share_no_relevant_item():
    """Linked queries stay together, the largest group in the first part; the second has at most its share."""

    def query(name: str, *rows: int) -> JudgedQuery:
        grades = np.array([1.0] * len(rows) + [0.0], np.float32)
        return JudgedQuery(name, np.array([*rows, 99], np.int64), grades)  # all judged 99, which is relevant to none

    linked = [query("a", 0, 1), query("b", 1, 2), query("c", 2)]
    alone = [query(f"alone {row}", row) for row in range(10, 16)]
    for seed in range(5):
        first, second = part_by_items([*alone, *linked], 1 / 3, seed)
        assert len(second) == 3
        assert {one.query for one in second} <= {one.query for one in alone}
        assert {one.query for one in first} >= {"a", "b", "c"}
    assert part_by_items([], 0.5, 0) == ([], [])
    assert part_by_items(linked, 0.5, 0) == (linked, [])

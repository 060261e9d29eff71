"""Judged searches as training data."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer, models

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from pipeline.learning.examples.judged_queries import TEST, fingerprint, folds_of, judged_queries, training_queries
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

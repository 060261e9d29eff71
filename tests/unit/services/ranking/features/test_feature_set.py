"""Features on a release."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.errors import BadRelease
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE, statistic_file
from common.release.store import Release
from services.ranking.features.feature_context import MAX_EVENTS
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.request import CandidateRows, UserRows


@pytest.fixture
def tables(ranking_release: Release):
    """The small release's data of its items."""
    return ItemTables(ranking_release, Catalogue.open(ranking_release.file(CATALOGUE)))


def test_similarity_to_the_most_recent_text(tables: ItemTables):
    """The last text counts, unless it is the candidate's own."""
    features = FeatureSet(["similarity_last"], tables)
    vectors = tables.embeddings()
    user = UserRows(np.array([3, 200, 100]))
    similarity = features.matrix(user, CandidateRows.from_rows(np.array([7, 101, -1])))[:, 0]
    expected = vectors.vectors[vectors.text_of_item[7]] @ vectors.vectors[vectors.text_of_item[100]]
    np.testing.assert_allclose(similarity, [expected, np.nan, np.nan], rtol=1e-5)


def test_any_text_column_of_the_catalogue_makes_features(tables: ItemTables):
    """Columns beyond the schema's, such as departments, count like categories; numbers do not."""
    features = FeatureSet(["department_count", "brand_loyalty"], tables)
    matrix = features.matrix(UserRows(np.arange(4)), CandidateRows.from_rows(np.array([0])))
    departments, brands = (tables.codes(column)[:4].tolist() for column in ("department", "brand"))
    expected = [departments.count(departments[0]), 1 / brands.count(brands[0])]
    np.testing.assert_allclose(matrix, [expected], rtol=1e-6)
    with pytest.raises(BadRelease, match="price_count"):
        FeatureSet(["price_count"], tables)


def test_long_histories_are_read_from_the_end(tables: ItemTables):
    """Past the bound, the oldest events do not count: the cost of a request is bounded."""
    features = FeatureSet(["history_events", "repeat_count"], tables)
    user = UserRows(np.concatenate([np.full(50, 7), np.full(MAX_EVENTS, 8)]))
    matrix = features.matrix(user, CandidateRows.from_rows(np.array([7, 8])))
    assert matrix.tolist() == [[MAX_EVENTS, 0], [MAX_EVENTS, MAX_EVENTS]]


def test_item_statistics_are_read_by_name(release_of: Callable[[Callable[[Path], object]], Release]):
    """A release's item statistic is a feature, NaN for an unknown item; one that it lacks is refused."""

    def write(folder: Path) -> None:
        file = folder / statistic_file("repeat_rate")
        file.parent.mkdir(parents=True)
        np.save(file, np.arange(240, dtype=np.float32))

    release = release_of(write)
    tables = ItemTables(release, Catalogue.open(release.file(CATALOGUE)))
    features = FeatureSet(["item_repeat_rate"], tables)
    matrix = features.matrix(UserRows(np.array([3])), CandidateRows.from_rows(np.array([7, -1])))
    np.testing.assert_array_equal(matrix[:, 0], [7, np.nan])
    with pytest.raises(BadRelease):
        FeatureSet(["item_charm"], tables)


def test_deviation_is_the_distance_from_the_mean(release_of: Callable[..., Release]):
    """Candidates that the source did not find leave the mean alone, and have no distance."""
    release = release_of(lambda _: None)
    features = FeatureSet(["deviation_semantic"], ItemTables(release, Catalogue.open(release.file(CATALOGUE))))
    scores = {"semantic": np.array([0.1, 0.5, np.nan], np.float32)}
    candidates = CandidateRows(np.array([1, 2, 3]), np.full(3, np.nan, np.float32), scores)
    matrix = features.matrix(UserRows(np.empty(0, np.int64), "milk"), candidates)
    np.testing.assert_allclose(matrix[:, 0], [-0.2, 0.2, np.nan], rtol=1e-5)
    assert features.sources == {"semantic"}

"""Lexical features of one request."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from common.errors import BadRelease
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import Release
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.lexical_features import FEATURES, LexicalFeatures
from services.ranking.features.word_index import WordIndex
from services.ranking.request import CandidateRows, UserRows

TEXTS = [
    "Acme 50 ft. garden hose with brass nozzle",
    "Brass hose nozzle for garden",
    "Bolt 25 ft. extension cord",
    "Garden gnome",
    "",
]


@pytest.fixture
def index() -> WordIndex:
    """The words of five texts."""
    return WordIndex.from_texts(TEXTS)


@pytest.fixture
def feature(index: WordIndex) -> Callable[[str, str], list[float]]:
    """Compute one feature of every text for a query."""

    def compute(name: str, query: str) -> list[float]:
        match = LexicalFeatures(query, np.arange(len(TEXTS)), index)
        return np.asarray(FEATURES[name](match), np.float64).tolist()

    return compute


def test_bm25_by_hand(feature: Callable[[str, str], list[float]]):
    """One query word in three of five texts, weighed by the text's length."""
    rarity = np.log(1 + (5 - 3 + 0.5) / 3.5)
    mean = (7 + 4 + 5 + 2 + 1) / 5  # an empty text counts as one word
    expected = [rarity * 2.2 / (1 + 1.2 * (0.25 + 0.75 * length / mean)) for length in (7, 4, 2)]
    scores = feature("bm25", "garden")
    np.testing.assert_allclose([scores[0], scores[1], scores[3]], expected, rtol=1e-5)
    assert scores[2] == scores[4] == 0


def test_typing_errors_find_their_word(feature: Callable[[str, str], list[float]]):
    """A misspelt word is a near match of the texts with the word, and an exact match of none."""
    assert feature("exact", "extention") == [0, 0, 0, 0, 0]
    near = feature("near", "extention")
    assert near[2] > 0.5
    assert [near[index] for index in (0, 1, 3, 4)] == [0, 0, 0, 0]


def test_the_thing_itself_against_what_comes_with_it(feature: Callable[[str, str], list[float]]):
    """A nozzle that comes with a hose is not in the head, and does not name the text."""
    assert feature("subject", "nozzle")[:2] == [1, 1]
    assert feature("subject_head", "nozzle")[:2] == [0, 1]
    assert feature("subjects", "nozzle")[:2] == [0, 1]
    assert feature("item_subject", "hose nozzle")[:2] == [1, 1]


def test_numbers_must_agree(feature: Callable[[str, str], list[float]]):
    """The share of the query's numbers that a text has; missing if the query has none."""
    assert feature("numbers", "50 ft cord")[:3] == [1, 0, 0]
    assert np.isnan(feature("numbers", "cord")).all()


def test_neighbouring_words_in_order(feature: Callable[[str, str], list[float]]):
    """Word pairs count if they are next to each other in the query's order; one word has none."""
    assert feature("order", "garden hose") == [1, 0, 0, 0, 0]
    assert feature("order", "hose nozzle") == [0, 1, 0, 0, 0]
    assert np.isnan(feature("order", "hose")).all()


def test_a_missing_brand_weighs_more_than_a_missing_word(feature: Callable[[str, str], list[float]]):
    """What opens the texts that have it is a brand; a text without it lacks it."""
    assert feature("brand_missed", "acme hose")[0] == 0
    assert feature("brand_missed", "acme hose")[1] > 0
    assert feature("brand_missed", "garden hose")[1] == 0


def test_a_candidate_has_the_same_features_among_others(index: WordIndex):
    """But for the share of the request's best BM25, features do not depend on the other candidates."""
    alone = [LexicalFeatures("acme gardn hose 50", np.array([row]), index) for row in range(len(TEXTS))]
    together = LexicalFeatures("acme gardn hose 50", np.arange(len(TEXTS)), index)
    for name in set(FEATURES) - {"bm25_relative"}:
        expected = np.concatenate([np.asarray(FEATURES[name](match), np.float64) for match in alone])
        np.testing.assert_allclose(np.asarray(FEATURES[name](together), np.float64), expected, rtol=1e-5, err_msg=name)


def test_missing_words_are_missing_features(release_of: Callable[..., Release]):
    """A query without words and a candidate without a row have no lexical features, and no zeros; others have."""
    release = release_of(lambda folder: _words_of(folder / CATALOGUE).save(folder))
    features = FeatureSet([f"query_{name}" for name in FEATURES], _tables(release))
    candidates = CandidateRows.from_rows(np.array([3, -1]))
    title = Catalogue.open(release.file(CATALOGUE)).title(3)
    matrix = features.matrix(UserRows(np.empty(0, np.int64), title), candidates)
    assert np.isnan(matrix[1]).all()
    assert matrix[0, features.names.index("query_near")] == pytest.approx(1.0)
    assert np.isnan(features.matrix(UserRows(np.empty(0, np.int64), "and of"), candidates)).all()


def test_a_release_without_words_is_refused(ranking_release: Release):
    """A fusion that reads words of a release that has none can't be served; nor can a feature nobody knows."""
    for name in ("query_near", "query_charm"):
        with pytest.raises(BadRelease):
            FeatureSet([name], _tables(ranking_release))


def _tables(release: Release) -> ItemTables:
    return ItemTables(release, Catalogue.open(release.file(CATALOGUE)))


def _words_of(catalogue: object) -> WordIndex:
    return WordIndex.from_texts(Catalogue.open(catalogue).table["text"].to_pylist())  # type: ignore[arg-type]

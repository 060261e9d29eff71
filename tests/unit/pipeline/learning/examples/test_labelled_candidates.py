"""Labelled candidates: weights of sources that training searches cannot judge, candidates as new items."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.labelled_candidates import LabelledCandidates, as_new_items, with_semantic_floor
from services.ranking.request import CandidateRows, UserRows
from services.retrieval.candidates.release_settings import FirstStageSettings, SourceSettings

KINDS = {"words": "lexical", "semantic": "semantic", "meaning": "semantic", "similar": "similar", "popular": "popular"}


@pytest.mark.parametrize("situation", ["query", "both"])
def test_meaning_counts_at_least_as_much_as_words_in_searches(situation: str):
    """Every semantic source is lifted to the lexical one's weight; a higher weight and other kinds stay."""
    learned = {situation: {"words": 0.6, "semantic": 0.03, "meaning": 1.0, "similar": 0.0, "popular": 0.2}}
    assert with_semantic_floor(learned, KINDS.__getitem__) == {
        situation: {"words": 0.6, "semantic": 0.6, "meaning": 1.0, "similar": 0.0, "popular": 0.2}
    }


def test_other_situations_and_releases_without_words_keep_their_weights():
    """Histories judge the semantic source, and without a lexical one there is nothing to weigh it against."""
    learned = {"history": {"words": 1.0, "semantic": 0.1}, "query": {"semantic": 0.2, "popular": 1.0}}
    assert with_semantic_floor(learned, KINDS.__getitem__) == learned


SETTINGS = FirstStageSettings(
    sources={"semantic": SourceSettings(), "popular": SourceSettings(), "repeat": SourceSettings(kind="graph")},
    weights={"query": {"semantic": 0.5, "popular": 1.0}},
)


def _search(query: str) -> LabelledCandidates:
    nan = np.nan
    candidates = CandidateRows(
        np.array([7, 8, 9]),
        np.array([3.0, 2.0, 1.0], np.float32),
        {
            "semantic": np.array([0.2, nan, 0.9], np.float32),
            "popular": np.array([5.0, 4.0, nan], np.float32),
            "repeat": np.array([nan, 1.0, nan], np.float32),
        },
    )
    labels = np.array([0.0, 1.0, 1.0], np.float32)
    return LabelledCandidates(
        ShopRequest((), query, frozenset({"x"})), UserRows(np.empty(0, np.int64), query), candidates, labels
    )


def test_new_items_are_found_by_their_texts_alone():
    """In the order of these scores, without what behaviour found and scored."""
    new = as_new_items(_search("tea"), SETTINGS)
    assert new is not None
    assert new.candidates.rows.tolist() == [9, 7]
    assert new.labels.tolist() == [1.0, 0.0]
    assert new.candidates.sources["semantic"].tolist() == pytest.approx([0.9, 0.2])
    assert np.isnan(new.candidates.sources["popular"]).all()
    assert new.candidates.first_stage_score[0] == pytest.approx(0.5)


def test_a_few_new_items_stand_among_known_ones():
    """Known ones keep the scores of what behaviour found, and those that only behaviour found stay."""
    new = as_new_items(_search("tea"), SETTINGS, np.array([True, False, False]))
    assert new is not None
    assert sorted(new.candidates.rows.tolist()) == [7, 8, 9]
    popular = dict(zip(new.candidates.rows.tolist(), new.candidates.sources["popular"].tolist(), strict=True))
    assert np.isnan(popular[7])
    assert popular[8] == pytest.approx(4.0)
    assert new.candidates.rows[0] == 8


def test_new_items_that_no_text_finds_are_not_candidates():
    """Nothing else could have found them."""
    new = as_new_items(_search("tea"), SETTINGS, np.array([False, True, False]))
    assert new is not None
    assert sorted(new.candidates.rows.tolist()) == [7, 9]


def test_without_a_query_nobody_asks_for_new_items():
    """A history names items that are known."""
    assert as_new_items(_search(""), SETTINGS) is None

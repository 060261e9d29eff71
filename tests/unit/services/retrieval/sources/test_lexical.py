"""The source `lexical`: items with the query's words in their titles."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from common.errors import BadRelease
from common.filters import Match
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.release_settings import FirstStageSettings

ScoresOf = Callable[..., dict[str, float]]


def test_without_words_nothing_is_retrieved(word_stage: FirstStage, scores_of: ScoresOf):
    """Without a query, or with a query of punctuation alone, there are no items."""
    assert scores_of(word_stage, "lexical", history_item_ids=["bread"]) == {}
    assert scores_of(word_stage, "lexical", query="?!") == {}


def test_only_items_that_pass_the_filter_are_retrieved(word_stage: FirstStage, scores_of: ScoresOf):
    """Items with the words that do not pass the filter are left out."""
    found = scores_of(word_stage, "lexical", query="rye milk", filter=Match("category", ("bakery",)))
    assert sorted(found) == ["bread", "roll"]


def test_a_release_without_title_words_is_refused(artifacts: ReleaseArtifacts):
    """If a release names the source but lacks its files, loading fails with the missing file."""
    settings = FirstStageSettings.model_validate({"sources": {"lexical": {}}})
    with pytest.raises(BadRelease, match=r"lexical/words\.json"):
        FirstStage(dataclasses.replace(artifacts, settings=settings))

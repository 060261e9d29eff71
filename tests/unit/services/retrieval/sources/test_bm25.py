"""BM25 over the titles of the release and of items added since."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest

from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.catalogue.item import Item
from services.retrieval.catalogue.stemming import query_stems, title_stems
from services.retrieval.catalogue.title_postings import TitlePostings
from services.retrieval.sources.bm25 import TitleBm25

ScoresOf = Callable[..., dict[str, float]]


def bm25(query: str, titles: list[str], release_size: int) -> list[float]:
    """Score titles by the formula, with the statistics of the first ``release_size`` titles."""
    released = [title_stems(title) for title in titles[:release_size]]
    mean = sum(map(len, released)) / release_size
    scores = []
    for title in map(title_stems, titles):
        score, frequencies = 0.0, Counter(title)
        for word in dict.fromkeys(query_stems(query)):
            document_frequency = sum(word in other for other in released)
            idf = math.log(1 + (release_size - document_frequency + 0.5) / (document_frequency + 0.5))
            score += idf * frequencies[word] / (frequencies[word] + 0.4 * (0.25 + 0.75 * len(title) / mean))
        scores.append(score)
    return scores


def test_scores_follow_the_formula(word_stage: FirstStage, scores_of: ScoresOf):
    """Titles of the release, of added and of replaced items are scored by BM25; titles without the words are not."""
    word_stage.writer.upsert([Item("oats", "Rye, rye oats"), Item("cheese", "fresh cheese"), Item("salt", "sea salt")])
    word_stage.writer.delete(["milk-2"])
    base = word_stage.snapshot.base
    titles = [*(base.title(row) for row in range(len(base))), "Rye, rye oats", "fresh cheese", "sea salt"]
    query = "fresh rye bread unheard"
    item_ids = [*base.item_ids, "oats", "cheese", "salt"]
    expected = dict(zip(item_ids, bm25(query, titles, len(base)), strict=True))
    del expected["milk-2"]
    found = scores_of(word_stage, "lexical", query="fresh RYE bread unheard")
    assert found == pytest.approx({item: score for item, score in expected.items() if score > 0}, abs=1e-4)


def test_only_the_first_added_titles_are_scored(titles: TitleBm25):
    """Titles added after a snapshot was taken do not count in it."""
    postings = TitlePostings()
    postings.append(0, ["rye oats"])
    postings.append(1, ["rye, rye"])
    assert titles.score_added_items("rye", postings, 1).shape == (1,)
    one, two = titles.score_added_items("rye", postings, 2)
    assert two > one == titles.score_added_items("rye", postings, 1)[0] > 0

"""Sources that go by words and by chance."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from common.errors import BadRelease
from common.filters import Match
from common.release.catalogue import Catalogue
from common.text import words
from pipeline.release.artifacts.title_bm25 import write_title_words
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.candidates import Candidates
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.candidates.request import Request
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.sources.bm25 import TitleBm25
from services.retrieval.sources.exploration import ExplorationSource

SETTINGS = {"sources": {"lexical": {}, "exploration": {"popularity": 1}, "popular": {}}}


class Folder:
    """A folder that is read as a release."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, name: str) -> Path:
        """Return a file's path."""
        return self.path / name


@pytest.fixture
def titles(catalogue: Catalogue, tmp_path: Path) -> TitleBm25:
    """Return the words of the shop's titles, written and read again."""
    write_title_words(catalogue, tmp_path)
    return TitleBm25.load(Folder(tmp_path), len(catalogue))  # type: ignore[arg-type]


@pytest.fixture
def stage(parts: ReleaseArtifacts, titles: TitleBm25, feed: ChangeFeed) -> Iterator[FirstStage]:
    """Return a first stage that searches by words and by chance."""
    settings = FirstStageSettings.model_validate(SETTINGS)
    stage = FirstStage(dataclasses.replace(parts, settings=settings, titles=titles), feed=feed)
    yield stage
    stage.close()


def ask(stage: FirstStage, source: str, **request: object) -> Candidates:
    """Ask one source alone; what fills the answer up is left out."""
    found = stage.retrieve([Request(sources=[source], **request)])[0]  # type: ignore[arg-type]
    keep = ~np.isnan(found.source_scores[:, 0])
    return dataclasses.replace(found, rows=found.rows[keep], source_scores=found.source_scores[keep])


def bm25(query: str, titles: list[str], of_release: int) -> list[float]:
    """Score titles by the formula; what is known of words comes from the first ``of_release``."""
    released = [words(title) for title in titles[:of_release]]
    mean = sum(map(len, released)) / of_release
    scores = []
    for title in map(words, titles):
        score, times = 0.0, Counter(title)
        for word in dict.fromkeys(words(query)):
            having = sum(word in other for other in released)
            idf = math.log(1 + (of_release - having + 0.5) / (having + 0.5))
            score += idf * times[word] / (times[word] + 1.2 * (0.25 + 0.75 * len(title) / mean))
        scores.append(score)
    return scores


def test_titles_with_the_words_are_found(stage: FirstStage):
    """Released, added and replaced titles score as the formula has it, and no other item is found."""
    stage.upsert([Item("oats", "Rye, rye oats"), Item("cheese", "fresh cheese"), Item("salt", "sea salt")])
    stage.delete(["milk-2"])
    base = [stage.view.base.title(row) for row in range(len(stage.view.base))]
    found = ask(stage, "lexical", query="fresh RYE bread unheard")
    ids = [*stage.view.base.item_ids, "oats", "cheese", "salt"]
    expected = dict(
        zip(
            ids,
            bm25("fresh rye bread unheard", [*base, "Rye, rye oats", "fresh cheese", "sea salt"], len(base)),
            strict=True,
        )
    )
    del expected["milk-2"]
    expected = {item_id: score for item_id, score in expected.items() if score > 0}
    assert dict(zip(found.item_ids, found.source_scores[:, 0].tolist(), strict=True)) == pytest.approx(
        expected, rel=1e-5
    )


def test_no_words_find_nothing(stage: FirstStage):
    """Without a text, or with signs alone, the lexical source is silent."""
    assert len(ask(stage, "lexical", history_item_ids=["bread"])) == 0
    assert len(ask(stage, "lexical", query="?!")) == 0


def test_words_keep_to_the_filter(stage: FirstStage):
    """Only allowed items are found by their words."""
    found = ask(stage, "lexical", query="rye milk", filter=Match("category", ("bakery",)))
    assert sorted(found.item_ids) == ["bread", "roll"]


def test_a_release_without_words_is_refused(parts: ReleaseArtifacts):
    """A lexical source without its files says so when the release is loaded."""
    settings = FirstStageSettings.model_validate({"sources": {"lexical": {}}})
    with pytest.raises(BadRelease, match=r"lexical/words\.json"):
        FirstStage(dataclasses.replace(parts, settings=settings))


def test_chance_draws_what_few_have_wanted(stage: FirstStage):
    """Unpopular and new items are drawn, none that is popular or gone; scores fall and stay above 0."""
    stage.upsert([Item("oats", "oats"), Item("roll", "roll, large"), Item("cheese", "cheese, old")])
    stage.delete(["sponge"])
    seen = {item_id for seed in range(1, 30) for item_id in ask(stage, "exploration", seed=seed).item_ids}
    assert seen == {"oats", "roll", "soap"}
    scores = ask(stage, "exploration", seed=3).source_scores[:, 0]
    assert (np.diff(scores) < 0).all()
    assert (scores > 0).all()


def test_chance_is_the_same_all_day(stage: FirstStage, monkeypatch: pytest.MonkeyPatch):
    """The same seed, or the same request, draws the same on one day; another seed, request or day another order."""
    stage.upsert([Item(f"new-{number}", "thing") for number in range(40)])
    day = [1]
    monkeypatch.setattr(stage._sources["exploration"], "_today", lambda: day[0])
    first = ask(stage, "exploration", seed=7).item_ids
    assert ask(stage, "exploration", seed=7, query="bread").item_ids == first
    assert ask(stage, "exploration", seed=8).item_ids != first
    by_query = ask(stage, "exploration", query="bread").item_ids
    assert ask(stage, "exploration", query="bread").item_ids == by_query
    assert ask(stage, "exploration", query="roll").item_ids != by_query
    day[0] = 2
    assert ask(stage, "exploration", seed=7).item_ids != first


def test_nothing_to_explore(stage: FirstStage):
    """Where every item is popular and none is new, chance finds nothing."""
    source = ExplorationSource(np.ones(8, np.float32), 0.5)
    allowed = stage._filter.allowed(stage.view, None)
    user = stage._search._asked(0, Request(), None, stage.view).user
    assert len(source.draw([user], 5, allowed)[0].found.rows) == 0

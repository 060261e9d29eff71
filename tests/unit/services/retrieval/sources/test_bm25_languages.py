"""BM25 over Chinese and English titles, through the first stage: titles of the release and titles added since."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from common.errors import BadRelease
from common.release.catalogue import Catalogue
from common.release.layout import TITLE_WORDS
from pipeline.release.artifacts.title_bm25 import write_title_words
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.catalogue.item import Item
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.sources.bm25 import TitleBm25

ScoresOf = Callable[..., dict[str, float]]

TITLES = (
    "蒙牛纯牛奶500ml",
    "红烧牛肉面",
    "全脂 牛奶 250 ML",
    "新鲜鸡蛋",
    "Fresh milk 500 ml",
    "ＡＣＭＥ Chocolate",
    "Rye bread",
    "绿茶",
)


def _load(folder: Path) -> TitleBm25:
    return TitleBm25.load(SimpleNamespace(file=folder.joinpath), len(TITLES))  # type: ignore[arg-type]


@pytest.fixture
def stage(artifacts: ReleaseArtifacts, feed: ChangeFeed, tmp_path: Path) -> Iterator[FirstStage]:
    """Return a first stage over Chinese and English titles, whose items are numbered from 0."""
    table = artifacts.catalogue.table[: len(TITLES)]
    for name, values in (("item_id", map(str, range(len(TITLES)))), ("title", TITLES)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    catalogue = Catalogue(table)
    write_title_words(catalogue, tmp_path)
    settings = FirstStageSettings.model_validate({"sources": {"lexical": {}}})
    changed = {"catalogue": catalogue, "titles": _load(tmp_path), "settings": settings, "graphs": {}}
    stage = FirstStage(dataclasses.replace(artifacts, **changed), feed=feed)
    yield stage
    stage.close()


@pytest.mark.parametrize(
    ("query", "items"),
    [
        ("牛奶", {"0", "2"}),
        ("牛", {"0", "1", "2"}),
        ("茶", {"7"}),
        ("acme", {"5"}),
        ("ｍｉｌｋ", {"4"}),
        ("mi\u200blk", {"4"}),
        ("500 ml", {"0", "2", "4"}),
        ("chocolates breads", {"5", "6"}),
        ("500ml milk", {"0", "2", "4"}),
    ],
)
def test_words_find_their_titles(stage: FirstStage, scores_of: ScoresOf, query: str, items: set[str]):
    """A query finds the titles with its words, however it or they are written."""
    assert set(scores_of(stage, "lexical", query=query)) == items


def test_added_titles_are_found_as_those_of_the_release(stage: FirstStage, scores_of: ScoresOf):
    """The same title scores the same in the release and as an upsert, in Chinese, English and full width."""
    before = scores_of(stage, "lexical", query="牛奶 500ml chocolate")
    stage.writer.upsert([Item(f"added-{row}", title) for row, title in enumerate(TITLES)])
    found = scores_of(stage, "lexical", query="牛奶 500ml chocolate")
    assert before == pytest.approx({item: score for item, score in found.items() if item in before}, abs=1e-4)
    assert {f"added-{item}": score for item, score in before.items()} == pytest.approx(
        {item: score for item, score in found.items() if item not in before}, abs=1e-4
    )


@pytest.mark.usefixtures("stage")
def test_a_release_without_a_version_is_searched_by_its_own_words(tmp_path: Path):
    """A release built before titles were split as today is found by the words that it has."""
    file = tmp_path / TITLE_WORDS
    header = json.loads(file.read_text())
    del header["version"]
    header["words"] = ["500ml" if word == "500" else word for word in header["words"]]
    file.write_text(json.dumps(header))
    found = _load(tmp_path).score_release_items("Milk 500ML")
    assert sorted(found.nonzero()[0].tolist()) == [0, 4]


@pytest.mark.usefixtures("stage")
def test_a_release_of_version_2_is_searched_by_words_as_they_are(tmp_path: Path):
    """A release built before stems is found by the words that it has, and has no spellings to repair queries by."""
    file = tmp_path / TITLE_WORDS
    header = json.loads(file.read_text())
    words = ["chocolate" if word == "chocol" else word for word in header["words"]]
    kept = {name: value for name, value in header.items() if name not in ("spellings", "other_words")}
    file.write_text(json.dumps({**kept, "version": 2, "words": words}))
    titles = _load(tmp_path)
    assert titles.score_release_items("ＣＨＯＣＯＬＡＴＥ").nonzero()[0].tolist() == [5]
    assert not titles.score_release_items("chocolates").any()
    assert not titles.spellings


@pytest.mark.usefixtures("stage")
def test_an_unknown_version_is_refused(tmp_path: Path):
    """Words of a later version would not be found: loading fails and says what to do."""
    file = tmp_path / TITLE_WORDS
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 4}))
    with pytest.raises(BadRelease, match=r"words\.json has version 4.*build it again"):
        _load(tmp_path)

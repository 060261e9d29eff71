"""A hardware shop whose words queries misspell."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from common.release.catalogue import Catalogue
from pipeline.release.artifacts.title_bm25 import write_title_words
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.sources.bm25 import TitleBm25

TITLES = (
    "white toilet seat",
    "round toilet brush",
    "oven door handle",
    "wall oven 30 in",
    "garden wall lamp",
    "shower curtain rod",
    "牛奶 whole milk",
    "makita jig saw",
)
# A brand, and a word of a description, that no title has.
BRAND, DESCRIBED = "toilett", "showered"

TitlesOf = Callable[[Sequence[str]], TitleBm25]


@pytest.fixture
def titles_of(tmp_path: Path) -> TitlesOf:
    """Return how the words of titles are written and read again."""

    def titles_of(titles: Sequence[str], other: str = "") -> TitleBm25:
        table = pa.table({"title": titles, "text": [f"{title}. {other}" for title in titles]})
        write_title_words(SimpleNamespace(table=table), tmp_path)  # type: ignore[arg-type]
        return TitleBm25.load(SimpleNamespace(file=tmp_path.joinpath), len(titles))  # type: ignore[arg-type]

    return titles_of


@pytest.fixture
def stage(artifacts: ReleaseArtifacts, titles_of: Callable[..., TitleBm25], feed: ChangeFeed) -> Iterator[FirstStage]:
    """Return a first stage over the hardware shop, whose items are numbered from 0."""
    table = artifacts.catalogue.table[: len(TITLES)]
    for name, values in (("item_id", map(str, range(len(TITLES)))), ("title", TITLES)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    stage = FirstStage(
        dataclasses.replace(
            artifacts,
            catalogue=Catalogue(table),
            titles=titles_of(TITLES, f"{BRAND} {DESCRIBED}"),
            settings=FirstStageSettings.model_validate({"sources": {"lexical": {}, "semantic": {}}}),
            graphs={},
        ),
        feed=feed,
    )
    yield stage
    stage.close()

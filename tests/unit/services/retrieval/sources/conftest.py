"""What the tests of the candidate sources share: one source asked alone, and a stage that has them all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.release.catalogue import Catalogue
from pipeline.release.artifacts.title_bm25 import write_title_words
from services.retrieval.candidates.artifacts import ReleaseArtifacts
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.release_settings import FirstStageSettings
from services.retrieval.candidates.request import Request
from services.retrieval.changes.change_feed import ChangeFeed
from services.retrieval.sources.bm25 import TitleBm25

ScoresOf = Callable[..., dict[str, float]]


class Folder:
    """A folder that is read as a release."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, name: str) -> Path:
        """Return a file's path."""
        return self.path / name


@pytest.fixture
def scores_of() -> ScoresOf:
    """Return how one source is asked: its scores by item, best first, without the padding."""

    def ask(stage: FirstStage, source: str, **request: object) -> dict[str, float]:
        candidates = stage.retrieve([Request(sources=[source], **request)])[0]  # type: ignore[arg-type]
        pairs = zip(candidates.item_ids, candidates.source_scores[:, 0].tolist(), strict=True)
        return {item_id: round(score, 4) for item_id, score in pairs if score == score}  # noqa: PLR0124 - NaN: not found

    return ask


@pytest.fixture
def titles(catalogue: Catalogue, tmp_path: Path) -> TitleBm25:
    """Return BM25 over the shop's titles, written and read again."""
    write_title_words(catalogue, tmp_path)
    return TitleBm25.load(Folder(tmp_path), len(catalogue))  # type: ignore[arg-type]


@pytest.fixture
def word_stage(artifacts: ReleaseArtifacts, titles: TitleBm25, feed: ChangeFeed) -> Iterator[FirstStage]:
    """Return a first stage with the sources `lexical` and `exploration`."""
    settings = FirstStageSettings.model_validate(
        {"sources": {"lexical": {}, "exploration": {"popularity": 1}, "popular": {}}}
    )
    stage = FirstStage(dataclasses.replace(artifacts, settings=settings, titles=titles), feed=feed)
    yield stage
    stage.close()

"""Building a release from items alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from common.errors import InvalidRequest
from common.release.layout import MODEL_CARD
from common.release.store import Release
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport, TableReport
from pipeline.data.ingest.row_filter import no_events
from pipeline.measurement.questions.answers import BOTH, FIRST, POPULAR
from pipeline.measurement.questions.local_runner import LocalRunner, local_runner
from pipeline.measurement.questions.protocols import Question
from pipeline.progress import ProgressReport, ProgressStep
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import CATALOGUE
from pipeline.release.config.training_settings import EncoderTraining

QUIET = ProgressReport(Console(quiet=True))


def _dataset(items: pl.DataFrame) -> Dataset:
    tables = {"items": TableReport(rows_in=items.height, rows_out=items.height)}
    return Dataset(items, no_events(), None, DataReport(source="tiny", licence="none", tables=tables))


@pytest.fixture(scope="module")
def settings(tiny_settings: BuildSettings) -> BuildSettings:
    """Settings that build in seconds."""
    return dataclasses.replace(tiny_settings, recipe=CATALOGUE.name, trees=10, boosters=1, training_requests=60)


@pytest.fixture(scope="module")
def release(tiny_items: pl.DataFrame, settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release of the tiny shop's items."""
    return build(_dataset(tiny_items), tmp_path_factory.mktemp("catalogue"), settings, QUIET)


def test_the_card_says_that_no_behaviour_is_known(release: Release):
    """Models name the made searches as what they were trained on; the encoder was not trained."""
    assert release.manifest.data.events == 0
    assert release.manifest.models["encoder"].trained_on.startswith("nothing")
    assert "searches made of titles, which no user typed" in release.manifest.models["fusion"].trained_on
    card = release.file(MODEL_CARD).read_text()
    assert "No behaviour of users is known." in card
    assert "A probability estimates whether the title has the words of the search." in card


@pytest.fixture(scope="module")
def local(release: Release) -> Iterator[LocalRunner]:
    """The engines that serve the release."""
    with local_runner(release) as found:
        yield found


def _items(local: LocalRunner, mode: str, *, history: tuple[str, ...] = (), query: str = "") -> list[str]:
    step = ProgressStep(None, "", None)
    return list(local.answer_questions([Question("q", "q", history, query, {})], mode, 10, step)["q"].item_ids)


def test_searches_are_answered_by_both_stages(local: LocalRunner):
    """Items whose title has the words come first."""
    assert all("milk" in item for item in _items(local, FIRST, query="milk")[:5])
    assert all("milk" in item for item in _items(local, BOTH, query="milk")[:5])


def test_a_history_finds_similar_items(local: LocalRunner):
    """Items are found by the text of the last ones, without any behaviour."""
    assert len(_items(local, BOTH, history=("dairy-milk-red-0",))) == 10


def test_nothing_known_of_a_user_finds_items_to_explore(local: LocalRunner):
    """Without history and query there are still recommendations; the popular items are any."""
    assert len(_items(local, BOTH)) == 10
    assert _items(local, POPULAR)


def test_a_few_items_are_enough(settings: BuildSettings, tmp_path: Path):
    """Three titles make a release, though there is nothing to compare them with."""
    items = pl.DataFrame({"item_id": ["1", "2", "3"], "title": ["Green tea", "Black tea", "501"]})
    assert build(_dataset(items), tmp_path, settings, QUIET).manifest.data.items == 3


def test_what_cannot_be_learned_is_refused(tiny_items: pl.DataFrame, settings: BuildSettings, tmp_path: Path):
    """A fine-tuned encoder, a compressed cross-encoder, and a single title."""
    trained = dataclasses.replace(settings, encoder=EncoderTraining(epochs=1))
    with pytest.raises(InvalidRequest, match="the recipe catalogue knows no real searches: leave encoder_epochs at 0"):
        build(_dataset(tiny_items), tmp_path, trained, QUIET)
    with pytest.raises(InvalidRequest, match="the recipe catalogue can't check a smaller cross-encoder"):
        build(_dataset(tiny_items), tmp_path, dataclasses.replace(settings, student_layers=1), QUIET)
    with pytest.raises(InvalidRequest, match="1 items have 1 different titles; give 2 at least"):
        build(_dataset(tiny_items.head(1)), tmp_path, settings, QUIET)

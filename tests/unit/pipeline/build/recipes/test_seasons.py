"""Building a release whose tables are counted at each moment that is learned at."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.item_graph import ItemGraph
from common.release.layout import (
    CATALOGUE,
    FUSION_SETTINGS,
    POPULARITY,
    RANKER_SETTINGS,
    RETRIEVAL_SETTINGS,
    statistic_file,
)
from common.release.store import Release, open_release
from pipeline.build.builder import build
from pipeline.build.recipes.seasons import MOMENTS
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import Windows, sample_training_snapshots
from pipeline.learning.item_graphs.purchases import Purchases, popularity
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEASONS
from pipeline.release.config.training_settings import LateTraining
from pipeline.tables.replay import replay
from services.ranking.cascade.second_stage import SecondStage
from services.retrieval.candidates.first_stage import FirstStage
from services.retrieval.candidates.request import Request


@pytest.fixture(scope="module")
def settings(tiny_settings: BuildSettings) -> BuildSettings:
    changes = {
        "candidates": 40,
        "cross_encoder_depth": 0,
        "trees": 5,
        "boosters": 2,
        "cross_encoder_lists": 8,
        "training_requests": 200,
    }
    return dataclasses.replace(tiny_settings, recipe=SEASONS.name, **changes)


@pytest.fixture(scope="module")
def report() -> ProgressReport:
    return ProgressReport(Console(quiet=True))


@pytest.fixture(scope="module")
def release(
    tiny_dataset: Dataset, settings: BuildSettings, tmp_path_factory: pytest.TempPathFactory, report: ProgressReport
) -> Release:
    return build(tiny_dataset, tmp_path_factory.mktemp("seasons"), settings.with_encoder_epochs(1), report)


@pytest.fixture
def windows(tiny_dataset: Dataset, settings: BuildSettings) -> Windows:
    return Windows.of(tiny_dataset.events, settings.window_days, MOMENTS)


def test_release_lists_graphs_sources_and_features(release: Release):
    """Everything that the recipe names is in the release's own files."""
    retrieval = json.loads(release.file(RETRIEVAL_SETTINGS).read_text())
    assert retrieval["sources"] == {name: dict(source) for name, source in SEASONS.sources.items()}
    assert retrieval["weights"]["history"]
    assert json.loads(release.file(FUSION_SETTINGS).read_text())["features"] == list(SEASONS.features)
    assert release.manifest.metrics["validation"]["fusion"]
    items = len(Catalogue.open(release.file(CATALOGUE)))
    assert all(ItemGraph.from_release(release, name).items == items for name in SEASONS.graphs)


def test_the_encoder_has_seen_nothing_of_the_weeks_that_are_learned_from(release: Release, windows: Windows):
    """Asked to be fine-tuned, it learns from purchases before the first moment that anything else is learned at."""
    assert release.manifest.models["encoder"].trained_on.endswith(f"purchases before {windows.training[0]:%Y-%m-%d}")


def test_served_tables_count_every_event(release: Release, tiny_dataset: Dataset, windows: Windows):
    """Popularity and statistics are those of everybody's events up to the last; models ended before the test."""
    catalogue = Catalogue.open(release.file(CATALOGUE))
    end = windows.test + windows.length
    expected = popularity(Purchases.of(tiny_dataset.events, catalogue, end), len(catalogue)).buyers
    np.testing.assert_array_equal(np.load(release.file(POPULARITY)), expected)
    assert np.nanmin(np.load(release.file(statistic_file("last_sold")))) == pytest.approx(0.0, abs=1e-4)
    until = release.manifest.learned_until
    assert until["tables"] == end.isoformat()
    assert until["fusion"] == until["weights"] == windows.test.isoformat()
    assert "cross_encoder" not in until
    assert until["encoder"] == windows.tables.isoformat()


def test_a_replay_knows_nothing_of_the_test(
    release: Release, tiny_dataset: Dataset, windows: Windows, tmp_path: Path, report: ProgressReport
):
    """Its tables are those of the events before the test, whatever comes after; models and catalogue are the same."""
    before = replay(release, tiny_dataset, windows.test, tmp_path / "replay", report)
    past = tiny_dataset.events.filter(pl.col("timestamp") < windows.test)
    known = Dataset(tiny_dataset.items, past, None, tiny_dataset.report)
    without = replay(release, known, windows.test, tmp_path / "without", report)
    assert before.manifest.files == without.manifest.files
    assert before.id != release.id
    changed = {name for name, entry in before.manifest.files.items() if release.manifest.files[name] != entry}
    assert POPULARITY in changed
    assert all(name.startswith("behaviour/") for name in changed)
    ages = np.load(before.file(statistic_file("last_sold")))
    newest = windows.test - past["timestamp"].max()
    assert np.nanmin(ages) == pytest.approx(newest / timedelta(days=1), abs=1e-4)
    assert open_release(str(before.path)).id == before.id
    assert open_release(str(release.path)).id == release.id


def test_release_serves_both_stages(release: Release):
    """The serving engines load what was built, and the source of what sells lately orders items by it."""
    SecondStage.load(release).close()
    stage = FirstStage.load(release)
    try:
        found = stage.retrieve([Request(history_item_ids=(), limit=10, sources=("lately",))])[0]
    finally:
        stage.close()
    lately = np.load(release.file(statistic_file("sold_7")))
    assert found.scores[0] == found.scores.max()
    assert lately[found.rows[0]] == lately.max()
    assert not np.array_equal(np.argsort(-lately)[:10], np.argsort(-np.load(release.file(POPULARITY)))[:10])


def test_seasons_share_nobody_they_should_not(tiny_dataset: Dataset, windows: Windows):
    """Users checked on are asked at validation alone, and everybody there; a share of users is left out each time."""
    seasons = sample_training_snapshots(
        tiny_dataset.events, windows, requests=10_000, valid=10, test=5, left_out=0.25, seed=3
    )
    assert [season.moment for season in seasons] == [*windows.training, windows.valid]
    assert not any(any(season.checked) for season in seasons[:-1])
    assert sum(seasons[-1].checked) == 10
    asked = [len(season.requests) for season in seasons]
    users = tiny_dataset.events["user_id"].n_unique()
    assert all(count <= users - 15 for count in asked[:-1])
    assert all(len(season.left_out) == round(0.25 * users) for season in seasons)
    assert len({season.left_out for season in seasons}) == len(seasons)


def test_requests_are_bounded_but_for_those_checked(tiny_dataset: Dataset, windows: Windows):
    """Each moment has its part of the requests; users checked on come on top."""
    seasons = sample_training_snapshots(
        tiny_dataset.events, windows, requests=30, valid=10, test=5, left_out=0.0, seed=3
    )
    assert [len(season.requests) - sum(season.checked) for season in seasons] == [5] * (MOMENTS + 1)


@pytest.mark.parametrize("recipe", [SEASONS.name, "baskets", "sequences"])
@pytest.mark.parametrize("columns", [["timestamp"], ["position"]])
def test_no_events_are_a_clear_error(
    tiny_dataset: Dataset,
    settings: BuildSettings,
    tmp_path: Path,
    report: ProgressReport,
    recipe: str,
    columns: list[str],
):
    """A shop without events has nothing to learn from, and the build says so before anything else."""
    kind = pl.Datetime("us") if columns == ["timestamp"] else pl.Int64
    events = pl.DataFrame(schema={"user_id": pl.String, "item_id": pl.String, "event": pl.String, columns[0]: kind})
    empty = Dataset(tiny_dataset.items, events, None, tiny_dataset.report)
    with pytest.raises(InvalidRequest, match="there are no events"):
        build(empty, tmp_path, dataclasses.replace(settings, recipe=recipe), report)


def test_a_trimmed_vocabulary_is_refused(
    tiny_dataset: Dataset, settings: BuildSettings, tmp_path: Path, report: ProgressReport
):
    """This recipe does not compare a trimmed vocabulary with the whole one."""
    with pytest.raises(InvalidRequest, match="can't check a trimmed vocabulary"):
        build(tiny_dataset, tmp_path, dataclasses.replace(settings, trim_vocabulary=True), report)


def test_every_tier_is_trained_and_fused_if_asked_for(
    tiny_dataset: Dataset, settings: BuildSettings, tmp_path: Path, report: ProgressReport
):
    """With `tiers` always, both text tiers are in the release in every precision, and the fusion reads their scores."""
    late = LateTraining(layers=2, width=8, requests_per_step=8, epochs=1)
    changes = {"cross_encoder_depth": 8, "late_bits": 8, "late_lists": 16, "late": late, "training_requests": 90}
    read = dataclasses.replace(settings, precision="int8", max_ndcg_loss=0.9, **changes)
    release = build(tiny_dataset, tmp_path, read, report)
    models = release.manifest.models
    assert (models["cross_encoder"].precision, models["late_interaction"].precision) == ("int8", "fp32")
    assert {"cross_encoder", "late_interaction"} <= set(release.manifest.learned_until)
    features = json.loads(release.file(FUSION_SETTINGS).read_text())["features"]
    assert features == [*SEASONS.features, *SEASONS.logit_features, *SEASONS.late_features]
    assert set(release.manifest.metrics["tiers"]) <= {"history", "query", "both", "new_user"}
    assert json.loads(release.file(RANKER_SETTINGS).read_text())["depth"] == 8
    SecondStage.load(release).close()

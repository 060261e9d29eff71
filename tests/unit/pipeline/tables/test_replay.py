"""A release as it would have been at an earlier moment."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.item_graph import ItemGraph
from common.release.layout import CATALOGUE, ENCODER, POPULARITY
from common.release.store import Release, open_release
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import Windows
from pipeline.evaluation.command import EvaluationData, run_evaluation
from pipeline.evaluation.evaluation import EvaluationSettings
from pipeline.learning.item_graphs.purchases import Purchases, popularity, transitions
from pipeline.progress import ProgressReport
from pipeline.tables.replay import end_of, reaches_past, replay


@pytest.fixture(scope="module")
def report() -> ProgressReport:
    return ProgressReport(Console(quiet=True))


@pytest.fixture(scope="module")
def release(tiny_release: Path) -> Release:
    return open_release(str(tiny_release))


@pytest.fixture(scope="module")
def test_time(release: Release, tiny_dataset: Dataset) -> datetime:
    return Windows.of(tiny_dataset.events, release.manifest.settings["window_days"]).test


def test_a_release_counts_every_event_and_says_so(release: Release, tiny_dataset: Dataset, test_time: datetime):
    """Tables end after the last event, models where the windows that they were fitted on end."""
    end, until = end_of(tiny_dataset.events), release.manifest.learned_until
    assert end is not None
    catalogue = Catalogue.open(release.file(CATALOGUE))
    purchases = Purchases.of(tiny_dataset.events, catalogue, end)
    np.testing.assert_array_equal(np.load(release.file(POPULARITY)), popularity(purchases, len(catalogue)).buyers)
    follow = transitions(purchases, len(catalogue))["follow"]
    np.testing.assert_array_equal(ItemGraph.from_release(release, "follow").weights, follow.weights)
    length = timedelta(days=release.manifest.settings["window_days"])
    assert until == {
        "tables": end.isoformat(),
        "fusion": test_time.isoformat(),
        "cross_encoder": (test_time - length).isoformat(),
        "weights": (test_time - length).isoformat(),
    }


def test_a_replay_has_the_tables_of_its_moment_and_the_same_models(
    release: Release, tiny_dataset: Dataset, test_time: datetime, tmp_path: Path, report: ProgressReport
):
    """Events from the moment on leave no trace, and the release that it was made of does not change."""
    before = replay(release, tiny_dataset, test_time, tmp_path / "a", report)
    past = Dataset(
        tiny_dataset.items, tiny_dataset.events.filter(pl.col("timestamp") < test_time), None, tiny_dataset.report
    )
    assert before.manifest.files == replay(release, past, test_time, tmp_path / "b", report).manifest.files
    assert before.manifest.files[POPULARITY] != release.manifest.files[POPULARITY]
    assert before.manifest.files[ENCODER] == release.manifest.files[ENCODER]
    assert reaches_past(release.manifest, "tables", test_time)
    assert not reaches_past(before.manifest, "tables", test_time)
    assert open_release(str(tmp_path / "a")).id == before.id
    assert open_release(str(release.path)).manifest == release.manifest


def test_a_release_is_evaluated_with_tables_that_end_before_the_answers(
    release: Release, tiny_dataset: Dataset, test_time: datetime, tmp_path: Path, report: ProgressReport
):
    """`evaluate` counts again up to the questions, and gives what a replay gives; through a gateway it refuses."""
    tiny_dataset.save(tmp_path / "data")
    asked = EvaluationData(data=tmp_path / "data")
    settings = EvaluationSettings(limit=10)
    before = replay(release, tiny_dataset, test_time, tmp_path / "replay", report)
    found = run_evaluation(str(release.path), asked, settings, None, None, report)
    wanted = run_evaluation(str(before.path), asked, settings, None, None, report)
    assert found.release_id == release.id
    assert {name: mode.measures for name, mode in found.modes.items()} == {
        name: mode.measures for name, mode in wanted.modes.items()
    }
    with pytest.raises(InvalidRequest, match="pipeline replay --until"):
        run_evaluation(str(release.path), asked, EvaluationSettings(gateway="127.0.0.1:1"), None, None, report)


def test_releases_without_times_or_of_other_versions_are_refused(
    release: Release, tiny_dataset: Dataset, test_time: datetime, tmp_path: Path, report: ProgressReport
):
    """Sequences have no time to go back to, and settings that are not understood are named."""

    def with_settings(**changes: object) -> Release:
        settings = {**release.manifest.settings, **changes}
        return dataclasses.replace(release, manifest=release.manifest.model_copy(update={"settings": settings}))

    with pytest.raises(InvalidRequest, match="nothing can be replayed"):
        replay(with_settings(recipe="sequences"), tiny_dataset, test_time, tmp_path / "a", report)
    with pytest.raises(InvalidRequest, match="build it again"):
        replay(with_settings(seed="often"), tiny_dataset, test_time, tmp_path / "b", report)

"""Comparing two encoders on validation users."""

from __future__ import annotations

from pathlib import Path

from benchmarks.offline.purchase_encoder import compare, sample_requests
from common.release.store import open_release
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import Windows, sample_test_users
from pipeline.release.config.build_settings import BuildSettings


def test_a_release_gains_nothing_over_itself(tiny_release: Path, tiny_dataset: Dataset, tiny_settings: BuildSettings):
    """All figures are equal for both, and no request is of a test user."""
    asked = sample_requests(tiny_dataset, tiny_settings, 30)
    windows = Windows.of(tiny_dataset.events, tiny_settings.window_days)
    tested = sample_test_users(tiny_dataset.events, windows, tiny_settings.test_users, tiny_settings.seed)
    known = [tuple(one.history) for one in tested]
    assert asked["histories"]
    assert not any(tuple(one.history) == history[: len(one.history)] for one in asked["histories"] for history in known)
    release = open_release(str(tiny_release))
    found = compare(release, release, asked, seed=1)
    for by_sources in found.values():
        for by_measure in by_sources.values():
            for each in by_measure.values():
                assert each["plain"] == each["trained"]
                assert each["gain"]["mean"] == 0
    assert found["histories"]["every source"]["recall@100"]["plain"]["mean"] > 0

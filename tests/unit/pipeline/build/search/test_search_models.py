"""The tower among the models of judged searches."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from pipeline.build.search.search_models import SearchModels
from pipeline.learning.examples.judged_queries import JudgedQuery
from pipeline.learning.examples.synthetic_queries import QUERIES_PER_LIST
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.catalogue import build_catalogue
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.training_settings import LateTraining
from pipeline.release.models.base_model import resolve_base_model
from pipeline.release.models.tokenizer import plain_tokenizer


@pytest.fixture
def settings(tiny_settings: BuildSettings) -> BuildSettings:
    """Settings that train a tower at once."""
    return dataclasses.replace(tiny_settings, late=LateTraining(layers=1, width=8, requests_per_step=4, epochs=1))


def _models(settings: BuildSettings, items: pl.DataFrame, base_model: Path, kept: Path) -> SearchModels:
    base, report = resolve_base_model(str(base_model)), ProgressReport(Console(quiet=True))
    catalogue = build_catalogue(items, plain_tokenizer(str(base_model / "tokenizer.json")), 16)
    return SearchModels(base, settings, catalogue, ModelCache(kept, base_model), report)


def test_the_tower_is_taught_made_queries_and_kept_by_what_drew_them(
    settings: BuildSettings, tiny_items: pl.DataFrame, tiny_base_model: Path, tmp_path: Path
):
    """The cross-encoder reads judged and made pairs; the same settings find the tower again, another seed does not."""
    words = ("milk", "soap", "bread", "pear")
    queries = [
        JudgedQuery(f"red {word}", np.arange(place, place + 3), np.array([1, 0, 0.5], np.float32))
        for place, word in enumerate(words)
    ]
    models = _models(settings, tiny_items, tiny_base_model, tmp_path)
    tower = models.tower(queries)
    read = sorted(len(np.load(file)) for file in models.cross_encoder(queries).glob("logits-*.npy"))
    assert read == [3 * len(words), 3 * len(words) * QUERIES_PER_LIST]
    assert np.isfinite(models.late_scores(tower, queries)).all()
    again = _models(settings, tiny_items, tiny_base_model, tmp_path)
    stamp = (tower / "done.json").stat().st_mtime_ns
    assert again.tower(queries) == tower
    assert (tower / "done.json").stat().st_mtime_ns == stamp
    reseeded = dataclasses.replace(settings, seed=settings.seed + 1)
    assert _models(reseeded, tiny_items, tiny_base_model, tmp_path).tower(queries) != tower

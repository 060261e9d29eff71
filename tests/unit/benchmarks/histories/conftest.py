"""A tiny shop that knows only the order of purchases, its release, and models trained on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from benchmarks.histories.models import HistoryModels
from benchmarks.histories.requests import CANDIDATES, TrainingSplit, training_requests
from common.release.store import Release
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.learning.trainers.model_cache import ModelCache
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEQUENCES
from pipeline.release.models.base_model import resolve_base_model


@pytest.fixture(scope="session")
def quiet() -> ProgressReport:
    return ProgressReport(Console(quiet=True))


@pytest.fixture(scope="session")
def sequences(tiny_dataset: Dataset) -> Dataset:
    """Return the last purchases of each user, with their order and no time."""
    order = pl.int_range(pl.len()).over("user_id").alias("position")
    last = tiny_dataset.events.sort("user_id", "timestamp").group_by("user_id", maintain_order=True).tail(8)
    return Dataset(tiny_dataset.items, last.select("user_id", "item_id", "event", order), None, tiny_dataset.report)


@pytest.fixture(scope="session")
def settings(tiny_settings: BuildSettings) -> BuildSettings:
    changes = {
        "candidates": CANDIDATES,
        "cross_encoder_depth": 0,
        "history_half_life": 1.36,
        "trees": 5,
        "boosters": 2,
        "cross_encoder_lists": 8,
    }
    return dataclasses.replace(tiny_settings, recipe=SEQUENCES.name, **changes)


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the build's fusion examples."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="session")
def release(
    sequences: Dataset,
    settings: BuildSettings,
    examples: Path,
    quiet: ProgressReport,
    tmp_path_factory: pytest.TempPathFactory,
) -> Release:
    return build(sequences, tmp_path_factory.mktemp("sequences"), settings, quiet, examples_dir=examples)


@pytest.fixture(scope="session")
def kept(tiny_base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelCache:
    return ModelCache(tmp_path_factory.mktemp("kept"), tiny_base_model)


@pytest.fixture(scope="session")
def parts(
    sequences: Dataset, release: Release, settings: BuildSettings, kept: ModelCache, quiet: ProgressReport
) -> TrainingSplit:
    return training_requests(sequences, release, settings, kept, quiet)


@pytest.fixture(scope="session")
def models(sequences: Dataset, tiny_base_model: Path, kept: ModelCache, quiet: ProgressReport) -> HistoryModels:
    return HistoryModels(sequences, resolve_base_model(str(tiny_base_model)), kept, quiet)


@pytest.fixture(scope="session")
def few(parts: TrainingSplit) -> TrainingSplit:
    """Return a few requests of each part, which are faster to score."""
    return TrainingSplit(
        parts.text_rankers.select(parts.text_rankers.with_target()[:6]),
        parts.fusions.select(parts.fusions.with_target()[:6]),
    )


@pytest.fixture(scope="session")
def cross_encoder(models: HistoryModels, few: TrainingSplit, tiny_base_model: Path) -> Path:
    return models.cross_encoder(few.text_rankers, tiny_base_model)


@pytest.fixture(scope="session")
def tower(models: HistoryModels, few: TrainingSplit, cross_encoder: Path) -> Path:
    return models.tower(few.text_rankers, cross_encoder)

"""From a dataset to a published release, step by step, through the engines that will serve it."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Final

from common.errors import BadRelease
from common.release.store import CURRENT, DataCard, Release, open_release
from pipeline.build.baskets import BasketBuild
from pipeline.build.build_steps import BuildSteps
from pipeline.build.searches import SearchBuild
from pipeline.build.seasons import SeasonBuild
from pipeline.build.sequences import SequenceBuild
from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.staging import Staging, staging_dir
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.models.base_model import BaseModel, resolve_base_model

_FORMAT: Final = 10  # raise it whenever the same data and settings make another release than before


def build(
    dataset: Dataset,
    store: Path,
    settings: BuildSettings,
    report: ProgressReport,
    *,
    examples_to: Path | None = None,
    models_in: Path | None = None,
) -> Release:
    """Build a release and publish it in ``store``; the same data and settings built before are not built again.

    Args:
        dataset: The shop's data.
        store: Where releases lie.
        settings: How to build.
        report: Told of each step.
        examples_to: Where the recipe `sequences` writes the examples that its fusion learns from, for ablations.
        models_in: Where the recipe `searches` keeps its trained models; by default they go when the release is there.

    Raises:
        InvalidRequest: The events leave no room for the windows, or nobody to learn from.
        BadBaseModel: The base model cannot be found.
        ParityError: An exported model computes something else than the trained one.
        CompressionRefused: A smaller cross-encoder loses more than the settings allow.
    """
    base = resolve_base_model(settings.base_model)
    card = DataCard(
        source=dataset.report.source,
        fingerprint=dataset.fingerprint(),
        items=dataset.items.height,
        events=dataset.events.height,
        licence=dataset.report.licence,
    )
    key = _build_key(card, base, settings)
    known = _built_before(store, key)
    if known is None:
        with staging_dir(store, key, lambda: _waiting(store, report)) as folder:
            known = _built_before(store, key)  # by another process, while this one waited for it
            if known is None:
                staging = Staging(folder, card, key, settings.as_json())
                steps = _steps(settings)(dataset, base, settings, staging, report)
                steps.examples_to, steps.models_in = examples_to, models_in
                _take_steps(steps)
                return staging.publish(store)
    report.console.print(f"Release {known.id} was built from the same data with the same settings: reused")
    return known


def _take_steps(steps: BuildSteps) -> None:
    """Run a build, and write down how long it and its steps took."""
    began = time.monotonic()
    steps.run()
    metrics, seconds = steps.staging.metrics, steps.report.seconds
    metrics["build_s"] = round(time.monotonic() - began, 1)
    metrics["build_seconds"] = {step: round(took, 1) for step, took in seconds.items()}


def _waiting(store: Path, report: ProgressReport) -> None:
    report.console.print(f"Another process is building the same release in {store}: waiting for it …")


def _steps(settings: BuildSettings) -> type[BuildSteps]:
    """Return the build for the settings' recipe."""
    recipe = settings.made_of()
    if recipe.judged:
        return SearchBuild
    if not recipe.windows:
        return SequenceBuild
    return SeasonBuild if recipe.graphs else BasketBuild


def _build_key(card: DataCard, base: BaseModel, settings: BuildSettings) -> str:
    """Return what tells one build from another: data, base model, settings, features, and the build's own format."""
    parts = [_FORMAT, card.model_dump(), base.sha256, settings.as_json(), settings.made_of().as_json()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _built_before(store: Path, key: str) -> Release | None:
    """Return the store's current release where it is whole and of the same build."""
    if not (store / CURRENT).exists():
        return None
    try:
        release = open_release(str(store))
    except BadRelease:
        return None  # a damaged release is no reason not to build a sound one
    return release if release.manifest.build_key == key else None

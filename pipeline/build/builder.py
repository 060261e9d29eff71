"""Building a release from a dataset and publishing it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import BadRelease
from common.release.manifest import MANIFEST, DataCard, Manifest, read_manifest
from common.release.pointer import CURRENT
from common.release.store import Release, open_release, sign_release, verify
from pipeline.build.completion.gate import GATE, measure_gate, publish_gated, reuse_gated
from pipeline.build.completion.learned import Learned, finish
from pipeline.build.completion.left_out import record_left_out
from pipeline.build.context import BuildContext
from pipeline.build.recipes.baskets import build_baskets
from pipeline.build.recipes.catalogue import build_catalogue
from pipeline.build.recipes.searches import build_searches
from pipeline.build.recipes.seasons import build_seasons
from pipeline.build.recipes.sequences import build_sequences
from pipeline.build.steps.event_kinds import weigh_by_kind
from pipeline.data.dataset.dataset import Dataset
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.staging import Staging, staging_dir
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipe import Recipe
from pipeline.release.models.base_model import BaseModel, resolve_base_model

_FORMAT: Final = 18  # raise it if the same data and settings make another release than before


def build(
    dataset: Dataset,
    store: Path,
    settings: BuildSettings,
    report: ProgressReport,
    *,
    examples_dir: Path | None = None,
    models_dir: Path | None = None,
    force: bool = False,
    signing_key: Ed25519PrivateKey | None = None,
) -> Release:
    """Build a release and publish it in ``store``; if the current one has the same data and settings, return that.

    A release that its gate refuses is stored and does not become the current one; see `is_refused`.

    Args:
        dataset: The shop's data.
        store: The release store.
        settings: How to build.
        report: Shows progress.
        examples_dir: Where recipes that learn the order of candidates save the fusion's examples, for ablations.
        models_dir: Where the recipe `searches` caches its trained models; by default they are removed after the build.
        force: Whether a refused release becomes the current one too.
        signing_key: Signs the release before it becomes current; None for no signature.

    Raises:
        InvalidRequest: The events leave no room for the windows, or nobody to learn from.
        BadBaseModel: The base model cannot be found.
        ParityError: An exported model computes something else than the trained one.
        CompressionRefused: A smaller cross-encoder loses more than the settings allow.
    """
    base_model, recipe = resolve_base_model(settings.base_model), settings.resolve_recipe()
    data = data_card(dataset)
    key = _build_key(data, base_model, settings, recipe, dataset.report.event_weights)
    existing = _built_release(store, key)
    if existing is None:
        with staging_dir(store, key, lambda: _report_waiting(store, report)) as folder:
            existing = _built_release(store, key)  # another process may have built it in the meantime
            if existing is None:
                weighed = weigh_by_kind(dataset, settings, recipe, report)
                staging = Staging(folder, data, key, weighed.settings.as_json(), signing_key=signing_key)
                context = BuildContext(
                    weighed.dataset,
                    base_model,
                    weighed.settings,
                    weighed.recipe,
                    staging,
                    report,
                    examples_dir,
                    models_dir,
                    weighed.weights,
                )
                _run(context, store)
                return publish_gated(staging, store, report, force=force)
    report.console.print(f"Release {existing.id} was built from the same data with the same settings: reused")
    if signing_key is not None:
        sign_release(existing.path, signing_key)
    return reuse_gated(existing, store, report, force=force)


def data_card(dataset: Dataset) -> DataCard:
    """Return what the manifest says of the data."""
    return DataCard(
        source=dataset.report.source,
        fingerprint=dataset.fingerprint(),
        items=dataset.items.height,
        events=dataset.events.height,
        licence=dataset.report.licence,
    )


def _run(context: BuildContext, store: Path) -> None:
    """Run the recipe's steps, and record how long they took."""
    began = time.monotonic()
    learned = _steps_of(context.recipe)(context)
    measure_gate(context, learned, store)
    finish(context, learned)
    record_left_out(context)
    metrics = context.staging.metrics
    metrics["build_s"] = round(time.monotonic() - began, 1)
    metrics["build_seconds"] = {step: round(took, 1) for step, took in context.report.seconds.items()}


def _steps_of(recipe: Recipe) -> Callable[[BuildContext], Learned]:
    """Return the function that runs a recipe's steps."""
    if recipe.judged:
        return build_searches
    if not recipe.needs_events:
        return build_catalogue
    if not recipe.windows:
        return build_sequences
    return build_seasons if recipe.graphs else build_baskets


def _report_waiting(store: Path, report: ProgressReport) -> None:
    report.console.print(f"Another process is building the same release in {store}: waiting for it …")


def _build_key(
    data: DataCard, base_model: BaseModel, settings: BuildSettings, recipe: Recipe, event_weights: Mapping[str, float]
) -> str:
    """Return a hash over everything that a build depends on: data, base model, settings, recipe, builder's format."""
    parts = [_FORMAT, data.model_dump(), base_model.sha256, settings.as_json(), recipe.as_json(), event_weights]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _built_release(store: Path, key: str) -> Release | None:
    """Return the store's current release if it is whole and has this build key, else one that was refused."""
    return _current_release(store, key) or next(
        (
            Release(file.parent, manifest)
            for file in sorted(store.glob(f"*/{MANIFEST}"))
            for manifest in [_manifest_of(file.parent)]
            if manifest is not None and manifest.build_key == key and manifest.metrics.get(GATE, {}).get("faults")
        ),
        None,
    )


def _manifest_of(folder: Path) -> Manifest | None:
    try:
        manifest = read_manifest(folder)
        verify(folder, manifest)
    except BadRelease:
        return None
    return manifest


def _current_release(store: Path, key: str) -> Release | None:
    """Return the store's current release if it is whole and has this build key."""
    if not (store / CURRENT).exists():
        return None
    try:
        release = open_release(str(store))
    except BadRelease:
        return None  # a damaged release must not keep a sound one from being built
    return release if release.manifest.build_key == key else None

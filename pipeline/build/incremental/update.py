"""Tomorrow's release from today's: models are kept; tables, catalogue, vectors and index follow the new data."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.store import Release, open_release, sign_release
from pipeline.build.builder import data_card
from pipeline.build.completion.gate import measure_gate, publish_gated
from pipeline.build.completion.learned import Learned, count_everything
from pipeline.build.completion.left_out import record_left_out
from pipeline.build.completion.model_card import update_model_card
from pipeline.build.context import BuildContext
from pipeline.build.incremental.late_vectors import update_late_vectors
from pipeline.build.incremental.vectors import update_vectors
from pipeline.build.recipes.searches import questions_held_out
from pipeline.build.recipes.sequences import write_tables_of_ends
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import TARGET, weigh_as_stated
from pipeline.data.dataset.training_requests import Windows
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.catalogue import build_catalogue
from pipeline.release.artifacts.staging import Staging, staging_dir
from pipeline.release.artifacts.title_bm25 import write_title_words
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipe import Recipe
from pipeline.release.models.base_model import BaseModel
from pipeline.release.models.tokenizer import plain_tokenizer
from pipeline.tables.replay import TABLES, copy_release, end_of, reaches_past
from services.ranking.features.settings import FusionSettings
from services.ranking.features.word_index import WordIndex

_FORMAT: Final = 2  # raise it if the same data and release make another release than before

# Of a release's metrics: what its models were measured by.
_KEPT_METRICS: Final = ("training", "validation", "tiers")


def update(
    dataset: Dataset,
    store: Path,
    report: ProgressReport,
    *,
    force: bool = False,
    signing_key: Ed25519PrivateKey | None = None,
) -> Release:
    """Make a release of new data with the models of the store's current release, and publish it behind the same gate.

    Encoder, cross-encoder, late interaction, source weights and fusion are kept. The catalogue is the data's; texts
    that the release does not have are embedded and indexed; tables are counted up to the last event.

    Args:
        dataset: The shop's data, as of now.
        store: The release store.
        report: Shows progress.
        force: Whether a release that the gate refuses becomes the current one too.
        signing_key: Signs the release before it becomes current; None for no signature.

    Returns:
        The new release; the current one if it was made from the same data.

    Raises:
        BadRelease: The store has no current release, or a damaged one.
        InvalidRequest: The release is of another shop or version, or the data ends before it.
    """
    before = open_release(str(store))
    settings = BuildSettings.from_json(before.manifest.settings)
    data = data_card(dataset)
    if data.fingerprint == before.manifest.data.fingerprint:
        report.console.print(f"Release {before.id} was made from the same data: nothing to update")
        if signing_key is not None:
            sign_release(before.path, signing_key)
        return before
    weighed = weigh_as_stated(dataset, settings.event_weights)
    recipe = settings.resolve_recipe()
    recipe = recipe.with_interest() if TARGET in weighed.events.columns else recipe
    _check(before, recipe, weighed)
    key = hashlib.sha256(json.dumps([_FORMAT, before.id, data.model_dump()]).encode()).hexdigest()
    with staging_dir(store, key) as folder:
        copy_release(before, folder)
        models = dict(before.manifest.models)
        staging = Staging(folder, data, key, before.manifest.settings, models, signing_key=signing_key)
        staging.metrics.update(
            {name: value for name, value in before.manifest.metrics.items() if name in _KEPT_METRICS}
        )
        staging.metrics["updated_from"] = before.id
        staging.learned_until.update(before.manifest.learned_until)
        # No step of an update reads the base model.
        base = BaseModel(settings.base_model, folder, "the base model of the release", "")
        _run(BuildContext(weighed, base, settings, recipe, staging, report), before, store)
        return publish_gated(staging, store, report, force=force)


def _check(before: Release, recipe: Recipe, dataset: Dataset) -> None:
    """Raise InvalidRequest if the data cannot follow the release."""
    source = before.manifest.data.source
    if dataset.report.source != source:
        raise InvalidRequest(
            f"the current release is of {source}, not of {dataset.report.source}; build a release of it"
        )
    models = before.manifest.models
    names = recipe.features_with(cross_encoder="cross_encoder" in models, late_interaction="late_interaction" in models)
    if tuple(FusionSettings.load(before).features) != names:
        raise InvalidRequest(f"the recipe {recipe.name} has other features than the current release: build it again")
    end = end_of(dataset.events)
    if recipe.windows and (end is None or reaches_past(before.manifest, TABLES, end)):
        until = before.manifest.learned_until[TABLES]
        raise InvalidRequest(f"the data ends before {until}, up to which the current release counts; give all events")


def _run(context: BuildContext, before: Release, store: Path) -> None:
    began = time.monotonic()
    catalogue = _update_items(context, before)
    measure_gate(context, _learned(context, catalogue), store)
    count_everything(context, catalogue)
    update_model_card(context.staging, catalogue)
    record_left_out(context)
    metrics = context.staging.metrics
    metrics["build_s"] = round(time.monotonic() - began, 1)
    metrics["build_seconds"] = {step: round(took, 1) for step, took in context.report.seconds.items()}


def _update_items(context: BuildContext, before: Release) -> Catalogue:
    """Write the catalogue and all that follows from texts; files are replaced, for they are links to the release's."""
    staging, settings = context.staging, context.settings
    with context.report.step("Writing the catalogue"):
        tokenizer = plain_tokenizer(str(before.file(layout.CROSS_ENCODER_TOKENIZER)))
        catalogue = build_catalogue(context.dataset.items, tokenizer, settings.item_tokens)
        _unlink(staging, layout.CATALOGUE)
        catalogue.save(staging.file(layout.CATALOGUE))
        _unlink(staging, *(name for name in before.manifest.files if name.startswith("lexical/")))
        write_title_words(catalogue, staging.path)
        if layout.VOCABULARY in before.manifest.files:
            _unlink(staging, *(name for name in before.manifest.files if name.startswith("words/")))
            WordIndex.from_texts(catalogue.table["text"].to_pylist()).save(staging.path)
    embedded = update_vectors(context, before, catalogue)
    if layout.LATE_SETTINGS in before.manifest.files:
        update_late_vectors(context, before, catalogue)
    context.report.console.print(
        f"{len(catalogue):,} items, of which {_new_items(before, catalogue):,} are new; {embedded:,} new texts"
    )
    return catalogue


def _learned(context: BuildContext, catalogue: Catalogue) -> Learned:
    """Return what the gate needs, with tables of what came before its requests."""
    recipe, questions = context.recipe, None
    windows = Windows.of(context.dataset.events, context.settings.window_days) if recipe.windows else None
    if recipe.judged:
        questions = questions_held_out(context, catalogue)
    elif recipe.needs_events and windows is None:
        questions = write_tables_of_ends(context, catalogue)
    return Learned(catalogue, (), np.empty(0), windows, questions)


def _new_items(before: Release, catalogue: Catalogue) -> int:
    rows = Catalogue.open(before.file(layout.CATALOGUE)).rows_of(list(catalogue.item_ids))
    return int((rows < 0).sum())


def _unlink(staging: Staging, *names: str) -> None:
    for name in names:
        (staging.path / name).unlink(missing_ok=True)

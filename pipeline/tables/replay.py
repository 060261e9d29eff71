"""A release as it would have been at an earlier moment: its models, with tables of the events before that moment."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from common.release.manifest import MANIFEST, Manifest
from common.release.store import Release
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.event_kinds import weigh_as_stated
from pipeline.progress import ProgressReport
from pipeline.release.artifacts.staging import Staging
from pipeline.release.config.build_settings import BuildSettings
from pipeline.tables.table_writer import TableWriter

TABLES: Final = "tables"  # in `Manifest.learned_until`
_BEHAVIOUR: Final = "behaviour"


def end_of(events: pl.DataFrame) -> datetime | None:
    """Return the moment just after the last event; None if the events have no times."""
    last = events["timestamp"].max() if "timestamp" in events.columns else None
    return last + timedelta(microseconds=1) if isinstance(last, datetime) else None


def reaches_past(manifest: Manifest, part: str, moment: datetime) -> bool:
    """Return whether ``part`` of a release has learned from events at or after a moment."""
    until = manifest.learned_until.get(part)
    try:
        return until is not None and datetime.fromisoformat(until) > moment
    except ValueError:  # words: the events have no times
        return False


def replay(release: Release, dataset: Dataset, moment: datetime, folder: Path, report: ProgressReport) -> Release:
    """Write a release with tables of the events before a moment into ``folder``, and return it.

    Figures of events from the moment on are honest with it, as far as the models ended before.

    Args:
        release: The release; it is not changed.
        dataset: The data that the tables are counted from.
        moment: Events from this moment on do not count.
        folder: Where to write; an existing folder is replaced.
        report: Shows progress.

    Raises:
        InvalidRequest: The release has no tables of events with times, or another version of the pipeline built it.
    """
    settings = BuildSettings.from_json(release.manifest.settings)
    if not settings.resolve_recipe().windows:
        raise InvalidRequest(f"the recipe {settings.recipe} has no tables that end at a time: nothing can be replayed")
    copy_release(release, folder)
    manifest = release.manifest
    staging = Staging(folder, manifest.data, manifest.build_key, manifest.settings, dict(manifest.models))
    staging.metrics.update(manifest.metrics)
    staging.learned_until.update({**manifest.learned_until, TABLES: moment.isoformat()})
    catalogue = Catalogue.open(folder / layout.CATALOGUE)
    events = weigh_as_stated(dataset, settings.event_weights).events
    known = events.filter(pl.col("timestamp") < moment)
    TableWriter(folder, settings, catalogue, report, known).write_all(events, moment)
    return _with_manifest(staging)


def copy_release(release: Release, folder: Path) -> None:
    """Copy a release's files without the manifest; what no step rewrites is linked, and takes no space."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in release.manifest.files:
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Tables and settings may be written again: through a link that would change the release.
        if name.startswith(_BEHAVIOUR) or not name.endswith((".onnx", ".npy", ".arrow", ".bin", ".faiss")):
            shutil.copyfile(release.path / name, copy)
        else:
            _link(release.path / name, copy)


def _link(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:  # another file system
        shutil.copyfile(file, copy)


def _with_manifest(staging: Staging) -> Release:
    release = staging.release()
    content = json.dumps(release.manifest.model_dump(mode="json"), indent=1, sort_keys=True)
    (staging.path / MANIFEST).write_text(content + "\n")
    return release

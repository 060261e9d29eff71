"""Two releases of the tiny shop, to swap between."""

from __future__ import annotations

import shutil
from pathlib import Path

from common.release.manifest import compute_release_id
from common.release.pointer import set_current
from common.release.store import open_release, publish
from testing.tiny_shop import build_tiny_release


def two_releases(folder: Path) -> list[Path]:
    """Build a release below ``folder``, and publish it twice: the second one differs by its licence alone.

    Returns:
        The folders of both releases, of which the first is the store's current one.
    """
    store = build_tiny_release(folder)
    first = open_release(str(store))
    staging = folder / "staging"
    shutil.copytree(first.path, staging, ignore=shutil.ignore_patterns("manifest.json"))
    manifest = first.manifest
    data = manifest.data.model_copy(update={"licence": "another"})
    release_id = compute_release_id(manifest.files, data, manifest.settings, manifest.models)
    second = publish(staging, store, manifest.model_copy(update={"data": data, "release_id": release_id}))
    set_current(store, first.id)
    return [first.path, second.path]

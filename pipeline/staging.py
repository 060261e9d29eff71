"""A release while it is being built: a folder aside in the store, seen as a release by the serving engines."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from common.errors import InvalidRequest
from common.release import DataCard, Manifest, ModelCard, Release, describe_files, publish, release_id

_ASIDE: Final = ".building-"


@dataclass
class Staging:
    """What is known of a release that is being built.

    Attributes:
        path: Its folder, on the store's file system.
        data: The data it is built from.
        build_key: What tells whether the same build was done before.
        settings: The settings that make it.
        models: Its models so far.
        metrics: What was measured so far.
    """

    path: Path
    data: DataCard
    build_key: str
    settings: Mapping[str, Any]
    models: dict[str, ModelCard] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """Return the path of a file to write, its folder made."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a file of settings."""
        self.file(name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    def release(self) -> Release:
        """Return what is there so far as a release, for the serving engines to load."""
        return Release(self.path, self._manifest())

    def publish(self, store: Path) -> Release:
        """Finish: move the folder into the store as its current release."""
        return publish(self.path, store, self._manifest())

    def _manifest(self) -> Manifest:
        files = describe_files(self.path)
        return Manifest(
            release_id=release_id(files, self.data, dict(self.settings)),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            build_key=self.build_key,
            data=self.data,
            models=dict(self.models),
            settings=dict(self.settings),
            metrics=dict(self.metrics),
            files=files,
        )


@contextmanager
def aside(store: Path) -> Iterator[Path]:
    """Give a folder to build in, inside the store so that publishing is a rename; removed where nothing was.

    What builds that were killed left behind is removed too.
    """
    if store.exists() and not store.is_dir():
        raise InvalidRequest(f"{store} is a file; a release store is a folder")
    store.mkdir(parents=True, exist_ok=True)
    for left in store.glob(f"{_ASIDE}*"):
        if not Path(f"/proc/{left.name.removeprefix(_ASIDE)}").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = store / f"{_ASIDE}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

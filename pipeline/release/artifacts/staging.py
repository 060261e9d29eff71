"""A release while it is built: a hidden folder in the store, which the serving engines can load as a release."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import InvalidRequest, ShortlistError
from common.release.manifest import DataCard, Manifest, ModelCard, compute_release_id, describe_files
from common.release.store import Release, publish
from pipeline.file_lock import locked, locked_if_free

_PREFIX: Final = ".building-"
_LOCK: Final = ".lock"
_KEY_LETTERS: Final = 12


@dataclass
class Staging:
    """A release that is being built.

    Attributes:
        path: Its folder, on the store's file system.
        data: The data it is built from.
        build_key: Hash over everything that the build depends on.
        settings: The settings that make it.
        models: Its models so far.
        metrics: What was measured so far.
        learned_until: From when on events had no part in tables and models; see `common.release.manifest.Manifest`.
        signing_key: Signs it when it is published; None for no signature.
    """

    path: Path
    data: DataCard
    build_key: str
    settings: Mapping[str, Any]
    models: dict[str, ModelCard] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    learned_until: dict[str, str] = field(default_factory=dict)
    signing_key: Ed25519PrivateKey | None = None

    @property
    def checkpoints(self) -> Path:
        """Folder for training checkpoints; the same build finds it again after a kill."""
        return self.path.with_name("checkpoints")

    def file(self, name: str) -> Path:
        """Return the path of a file to write, and create its folder."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a file of settings."""
        self.file(name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    def remove(self, name: str) -> None:
        """Remove a file or a folder, if it is there."""
        path = self.path / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def release(self) -> Release:
        """Return the files written so far as a release, for the serving engines to load."""
        return Release(self.path, self._manifest())

    def publish(self, store: Path, *, current: bool = True) -> Release:
        """Finish: move the folder into the store as a release, the current one if ``current``."""
        return publish(self.path, store, self._manifest(), current=current, key=self.signing_key)

    def _manifest(self) -> Manifest:
        files = describe_files(self.path)
        return Manifest(
            release_id=compute_release_id(files, self.data, dict(self.settings), dict(self.models)),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            build_key=self.build_key,
            data=self.data,
            models=dict(self.models),
            settings=dict(self.settings),
            metrics=dict(self.metrics),
            files=files,
            learned_until=dict(self.learned_until),
        )


@contextmanager
def staging_dir(store: Path, key: str = "release", on_wait: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Yield an empty folder to build in; it is in the store, so that publishing is a rename.

    A store runs one build of a key at a time. Files of killed builds are removed too, except their checkpoints
    (`Staging.checkpoints`), from which the same build continues.

    Args:
        store: The store; created if it does not exist.
        key: The build's key.
        on_wait: Called before waiting for another process that runs the same build.

    Raises:
        InvalidRequest: The store is a file.
    """
    if store.exists() and not store.is_dir():
        raise InvalidRequest(f"{store} is a file; a release store is a folder")
    store.mkdir(parents=True, exist_ok=True)
    _remove_killed_builds(store)
    folder = store / f"{_PREFIX}{key[:_KEY_LETTERS]}"
    with locked(folder.with_suffix(_LOCK), on_wait):
        release = folder / "release"
        shutil.rmtree(release, ignore_errors=True)
        release.mkdir(parents=True)
        try:
            yield release
        except ShortlistError:  # the same build would fail again, so its checkpoints are useless
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except BaseException:
            _remove_release(folder)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _remove_killed_builds(store: Path) -> None:
    for lock in store.glob(f"{_PREFIX}*{_LOCK}"):
        with locked_if_free(lock) as is_free:
            if is_free:
                _remove_release(lock.with_suffix(""))


def _remove_release(folder: Path) -> None:
    """Remove the unfinished release, and the folder if it has no checkpoints."""
    shutil.rmtree(folder / "release", ignore_errors=True)
    with suppress(OSError):  # checkpoints are in it
        folder.rmdir()

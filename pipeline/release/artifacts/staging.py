"""A release while it is being built: a folder aside in the store, seen as a release by the serving engines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from common.errors import InvalidRequest, ShortlistError
from common.release.manifest import DataCard, Manifest, ModelCard, compute_release_id, describe_files
from common.release.store import Release, publish
from pipeline.file_lock import locked, locked_if_free

_ASIDE: Final = ".building-"


_LOCK: Final = ".lock"


_KEY_LETTERS: Final = 12


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

    @property
    def checkpoints(self) -> Path:
        """Where training leaves its checkpoints: named by the build, so that the same one goes on after a kill."""
        return self.path.with_name("checkpoints")

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
            release_id=compute_release_id(files, self.data, dict(self.settings), dict(self.models)),
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            build_key=self.build_key,
            data=self.data,
            models=dict(self.models),
            settings=dict(self.settings),
            metrics=dict(self.metrics),
            files=files,
        )


@contextmanager
def staging_dir(store: Path, key: str = "release", on_wait: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Give an empty folder to build in, inside the store so that publishing is a rename; removed where nothing was.

    One build of a key runs at a time in a store. What builds that were killed left behind is removed too, but for
    their checkpoints (`Staging.checkpoints`), which the same build goes on from.

    Args:
        store: The store; made where it does not exist.
        key: What tells one build from others.
        on_wait: Told where another process is at the same build, before it is waited for.

    Raises:
        InvalidRequest: The store is a file.
    """
    if store.exists() and not store.is_dir():
        raise InvalidRequest(f"{store} is a file; a release store is a folder")
    store.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(store)
    place = store / f"{_ASIDE}{key[:_KEY_LETTERS]}"
    with locked(place.with_suffix(_LOCK), on_wait):
        release = place / "release"
        shutil.rmtree(release, ignore_errors=True)
        release.mkdir(parents=True)
        try:
            yield release
        except ShortlistError:  # it would end the same way again: its checkpoints are of no use
            shutil.rmtree(place, ignore_errors=True)
            raise
        except BaseException:
            _remove_release(place)
            raise
        shutil.rmtree(place, ignore_errors=True)


def _remove_left_behind(store: Path) -> None:
    for lock in store.glob(f"{_ASIDE}*{_LOCK}"):
        with locked_if_free(lock) as is_left:
            if is_left:
                _remove_release(lock.with_suffix(""))


def _remove_release(place: Path) -> None:
    """Remove what is not a checkpoint, and the folder where nothing else is in it."""
    shutil.rmtree(place / "release", ignore_errors=True)
    with suppress(OSError):  # checkpoints are in it
        place.rmdir()

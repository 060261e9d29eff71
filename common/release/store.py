"""A release: an immutable folder with everything a server serves, and the store that releases lie in.

Layout of a store (a folder, or any URL that fsspec reads)::

    <store>/CURRENT               the id of the release to serve, one line
    <store>/<release id>/         one release
        manifest.json             what it holds, with sizes and SHA-256
        encoder/  ranker/  fusion/  index/  behaviour/  catalogue.arrow

A release is written aside, fsynced, renamed into place, and only then named in CURRENT, so that a crash at any
moment leaves the store as it was before or as it is after.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import fsspec
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from common.errors import BadRelease

FORMAT = 3


MANIFEST = "manifest.json"


CURRENT = "CURRENT"


_CHUNK_BYTES = 1 << 20


_RELEASE_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class FileEntry(BaseModel):
    """One file of a release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class ModelCard(BaseModel):
    """One model of a release: what it is, what it grew from, what it saw."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    precision: Literal["fp32", "fp16", "int8"]
    base_model: str
    base_model_origin: str
    trained_on: str
    parity_max_abs_error: float | None = None


class DataCard(BaseModel):
    """The data a release was built from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    fingerprint: str
    items: int
    events: int
    licence: str


class Manifest(BaseModel):
    """What a release holds; see `release_id` for what its id covers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    release_id: str = Field(pattern=_RELEASE_ID)  # it names a folder
    created_at: str
    build_key: str
    data: DataCard
    models: dict[str, ModelCard]
    settings: dict[str, Any]
    metrics: dict[str, Any]
    files: dict[str, FileEntry]

    @field_validator("created_at")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        datetime.fromisoformat(value)
        return value

    @field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        """Refuse names that lead out of the release: a remote manifest must not write just anywhere."""
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name:
                raise ValueError(f"the file {name!r} lies outside of the release")
        return files

    @model_validator(mode="after")
    def _lists_its_models(self) -> Manifest:
        for name, card in self.models.items():
            if card.file not in self.files:
                raise ValueError(f"the model {name!r} is the file {card.file!r}, which is not listed")
        return self


@dataclass(frozen=True)
class Release:
    """A verified release on this machine's disk."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """The release's id."""
        return self.manifest.release_id

    def file(self, name: str) -> Path:
        """Return the path of one file of the release; raises BadRelease where the manifest does not list it."""
        if name not in self.manifest.files:
            raise BadRelease(f"release {self.id} has no file {name!r}; rebuild it with `python -m pipeline build`")
        return self.path / name


def open_release(location: str, cache: Path | None = None) -> Release:
    """Find, fetch where remote, and verify the release at ``location``.

    Args:
        location: Path or URL of a release or of a store, whose current release is meant.
        cache: Where remote releases are kept; default ``~/.cache/shortlist/releases``.

    Raises:
        BadRelease: Nothing there, a file missing, altered or of another size, or another format; the message names
            the file.
    """
    try:
        root = _resolve(location)
        path = _download(root, cache or Path.home() / ".cache/shortlist/releases") if "://" in root else Path(root)
        manifest = read_manifest(path)
        verify(path, manifest)
    except (OSError, ImportError, ValueError) as error:  # unreadable, or a protocol that fsspec does not know
        raise BadRelease(f"{location} cannot be read: {error}") from error
    return Release(path, manifest)


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of the release at ``path``; raises BadRelease where it is missing or unreadable."""
    try:
        return _parse_manifest((path / MANIFEST).read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise BadRelease(f"{path} is no release: it has no {MANIFEST}") from None


def verify(path: Path, manifest: Manifest) -> None:
    """Check that every file is there with the size and hash of the manifest; raises BadRelease naming the file."""
    for name, entry in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise BadRelease(f"release {manifest.release_id} is incomplete: {file} is missing; copy or build it again")
        if file.stat().st_size != entry.bytes or file_sha256(file) != entry.sha256:
            raise BadRelease(f"release {manifest.release_id} is damaged: {file} was altered; copy or build it again")


def publish(staging: Path, store: Path, manifest: Manifest) -> Release:
    """Move a finished folder into the store as a release and make it current, atomically and durably.

    Args:
        staging: Folder on the store's file system with every file but the manifest; it is consumed.
        store: The store; made where it does not exist.
        manifest: What the folder holds.
    """
    (staging / MANIFEST).write_text(json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n")
    for path in [*staging.rglob("*"), staging]:
        _fsync(path)
    store.mkdir(parents=True, exist_ok=True)
    final = store / manifest.release_id
    if _is_sound(final):  # the same content was published before: it is the same release
        shutil.rmtree(staging)
    else:
        shutil.rmtree(final, ignore_errors=True)
        staging.rename(final)
    _fsync(store)
    set_current(store, manifest.release_id)
    return Release(final, read_manifest(final))


def set_current(store: Path, release_id: str) -> None:
    """Make a release of the store the current one, atomically and durably; raises BadRelease where it has no such."""
    if not (store / release_id / MANIFEST).is_file():
        raise BadRelease(f"{store} has no release {release_id!r}")
    aside = store / f".{CURRENT}.{os.getpid()}"
    aside.write_text(release_id + "\n")
    _fsync(aside)
    aside.replace(store / CURRENT)
    _fsync(store)


def describe_files(path: Path) -> dict[str, FileEntry]:
    """Return size and SHA-256 of every file below ``path`` but the manifest, by relative name, sorted."""
    found = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    names = sorted(found - {MANIFEST})
    return {name: FileEntry(bytes=(path / name).stat().st_size, sha256=file_sha256(path / name)) for name in names}


def release_id(
    files: dict[str, FileEntry], data: DataCard, settings: dict[str, Any], models: dict[str, ModelCard]
) -> str:
    """Return the id of a release: the first 12 hex digits of SHA-256 over contents, data, settings and models.

    What was measured takes no part: neither ``metrics`` nor how exact an export is.
    """
    parts = {
        "files": {name: entry.sha256 for name, entry in files.items()},
        "data": data.model_dump(mode="json"),
        "settings": settings,
        "models": {name: card.model_dump(exclude={"parity_max_abs_error"}) for name, card in models.items()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _resolve(location: str) -> str:
    """Follow a store to its current release."""
    root = location.rstrip("/")
    filesystem, path = fsspec.url_to_fs(root)
    if filesystem.exists(f"{path}/{MANIFEST}"):
        return root
    if not filesystem.exists(f"{path}/{CURRENT}"):
        raise BadRelease(
            f"{location} holds no release: neither {MANIFEST} nor {CURRENT} is there; "
            "build one with `python -m pipeline build --out …` or `make demo`"
        )
    current = filesystem.cat_file(f"{path}/{CURRENT}").decode(errors="replace").strip()
    if not _RELEASE_ID.fullmatch(current) or not filesystem.exists(f"{path}/{current}/{MANIFEST}"):
        raise BadRelease(f"{location}/{CURRENT} names {current!r}, which is no release there; publish one again")
    return f"{root}/{current}"


def _download(root: str, cache: Path) -> Path:
    """Copy a remote release into the cache once; an interrupted copy is never taken for a release."""
    filesystem, path = fsspec.url_to_fs(root)
    manifest = _parse_manifest(filesystem.cat_file(f"{path}/{MANIFEST}"), root)
    final = cache / manifest.release_id
    if _is_sound(final):
        return final
    shutil.rmtree(final, ignore_errors=True)  # a copy that was damaged since is fetched again
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".") as folder:
        aside = Path(folder) / manifest.release_id
        for name in [*manifest.files, MANIFEST]:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            with filesystem.open(f"{path}/{name}", "rb") as remote, (aside / name).open("wb") as local:
                shutil.copyfileobj(remote, local, _CHUNK_BYTES)
        verify(aside, manifest)
        with suppress(OSError):  # another process was faster, and its copy is the same
            aside.rename(final)
    return final


def _parse_manifest(content: bytes, origin: str) -> Manifest:
    try:
        # The format comes first: a manifest of another one may have any shape.
        found = json.loads(content)["format"]
        if found != FORMAT:
            raise BadRelease(f"{origin} has format {found}, this server reads {FORMAT}; build the release again")
        manifest = Manifest.model_validate_json(content)
    except (ValueError, KeyError, TypeError) as error:
        raise BadRelease(f"{origin}/{MANIFEST} cannot be read: {error}") from error
    made = release_id(manifest.files, manifest.data, manifest.settings, manifest.models)
    if manifest.release_id != made:
        raise BadRelease(f"{origin}/{MANIFEST} was altered: it makes release {made}, not {manifest.release_id}")
    return manifest


def _is_sound(path: Path) -> bool:
    try:
        verify(path, read_manifest(path))
    except BadRelease:
        return False
    return True


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

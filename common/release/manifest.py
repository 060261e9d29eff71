"""The manifest of a release: its models, data, settings and files, and the id that is derived from them."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from common.errors import BadRelease

FORMAT: Final = 3
MANIFEST: Final = "manifest.json"
RELEASE_ID: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class FileEntry(BaseModel):
    """One file of a release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class ModelCard(BaseModel):
    """One model of a release, its base model and its training data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    precision: Literal["fp32", "fp16", "int8"]
    base_model: str
    base_model_origin: str
    trained_on: str
    parity_max_abs_error: float | None = None


class DataCard(BaseModel):
    """The data that a release was built from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    fingerprint: str
    items: int
    events: int
    licence: str


class Manifest(BaseModel):
    """The content of a release; see `compute_release_id` for what its id covers.

    ``learned_until`` says of ``tables`` and of each model from when on events had no part in it, as an ISO time, or in
    words if the events have no times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    release_id: str = Field(pattern=RELEASE_ID)  # names a folder
    created_at: str
    build_key: str
    data: DataCard
    models: dict[str, ModelCard]
    settings: dict[str, Any]
    metrics: dict[str, Any]
    files: dict[str, FileEntry]
    learned_until: dict[str, str] = {}

    @field_validator("created_at")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        datetime.fromisoformat(value)
        return value

    @field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        """Refuse paths outside of the release: a remote manifest must not make us write anywhere else."""
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name:
                raise ValueError(f"the file {name!r} is outside of the release")
        return files

    @model_validator(mode="after")
    def _lists_its_models(self) -> Manifest:
        for name, card in self.models.items():
            if card.file not in self.files:
                raise ValueError(f"the model {name!r} is the file {card.file!r}, which is not listed")
        return self


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of the release at ``path``; raises BadRelease if it is missing or invalid."""
    try:
        return parse_manifest((path / MANIFEST).read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise BadRelease(f"{path} is not a release: it has no {MANIFEST}") from None


def parse_manifest(content: bytes, origin: str) -> Manifest:
    """Parse and check a manifest; raises BadRelease, naming ``origin``, if it is invalid."""
    try:
        # The format is checked first: a manifest of another format may have any fields.
        found_format = json.loads(content)["format"]
        if found_format != FORMAT:
            raise BadRelease(f"{origin} has format {found_format}, this server reads {FORMAT}; build the release again")
        manifest = Manifest.model_validate_json(content)
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # lists nested thousands deep
        raise BadRelease(f"{origin}/{MANIFEST} cannot be read: {error}") from error
    expected_id = compute_release_id(manifest.files, manifest.data, manifest.settings, manifest.models)
    if manifest.release_id != expected_id:
        raise BadRelease(
            f"{origin}/{MANIFEST} was altered: its content is that of {expected_id}, not {manifest.release_id}"
        )
    return manifest


def describe_files(path: Path) -> dict[str, FileEntry]:
    """Return size and SHA-256 of every file below ``path`` except the manifest, by relative path, sorted."""
    paths = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    names = sorted(paths - {MANIFEST})
    return {name: FileEntry(bytes=(path / name).stat().st_size, sha256=file_sha256(path / name)) for name in names}


def compute_release_id(
    files: dict[str, FileEntry], data: DataCard, settings: dict[str, Any], models: dict[str, ModelCard]
) -> str:
    """Return the id of a release: the first 12 hex digits of SHA-256 over contents, data, settings and models.

    Measurements are not part of it: neither ``metrics`` nor the error of an export.
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

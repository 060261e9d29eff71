"""Settings files of a release, checked when they are loaded."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import BadRelease
from common.release.store import Release


class SettingsFile(BaseModel):
    """A JSON file of a release; fields that this version does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def read(cls, release: Release, name: str) -> Self:
        """Read the file called ``name``; raises BadRelease where it can't be used."""
        try:
            return cls.model_validate_json(release.file(name).read_bytes())
        except ValidationError as error:
            raise BadRelease(f"release {release.id}: {name} can't be used: {error}") from error

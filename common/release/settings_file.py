"""Settings files of a release, validated when they are loaded."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import BadRelease
from common.release.store import Release


class SettingsFile(BaseModel):
    """A JSON file of a release; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def from_file(cls, release: Release, name: str) -> Self:
        """Load the file called ``name``; raises BadRelease if it is invalid."""
        try:
            return cls.model_validate_json(release.file(name).read_bytes())
        except ValidationError as error:
            raise BadRelease(f"release {release.id}: {name} cannot be used: {error}") from error

"""A release's settings of late interaction."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from common.release.layout import LATE_SETTINGS
from common.release.settings_file import SettingsFile
from common.release.store import Release
from services.ranking.late_interaction.vector_codec import Bits


class LateInteractionSettings(SettingsFile):
    """How the late-interaction tier is stored.

    Attributes:
        width: The number of dimensions of a vector; even.
        bits: The bits of one dimension of a token vector.
    """

    width: int = Field(ge=2, le=1_024, multiple_of=2)
    bits: Bits

    @classmethod
    def load(cls, release: Release) -> Self:
        """Read a release's settings; raises BadRelease if they cannot be used."""
        return cls.from_file(release, LATE_SETTINGS)

"""Settings of late interaction, as the release has them."""

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
        width: Of the vectors; even.
        bits: Of a token vector's dimension.
    """

    width: int = Field(ge=2, le=1_024, multiple_of=2)
    bits: Bits

    @classmethod
    def load(cls, release: Release) -> Self:
        """Read a release's settings; raises BadRelease where they can't be used."""
        return cls.from_file(release, LATE_SETTINGS)

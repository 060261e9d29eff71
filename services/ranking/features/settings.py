"""Settings of the fusion model, as the release has them."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from common.release.layout import FUSION_SETTINGS
from common.release.settings_file import SettingsFile
from common.release.store import Release


class FusionSettings(SettingsFile):
    """What the fusion reads.

    Attributes:
        features: The names of its features, in its order.
        half_life_long: After how many events an event counts half, for habits.
        half_life_short: The same for what the user is about now.
    """

    features: tuple[str, ...] = Field(min_length=1)
    half_life_long: float = Field(150.0, gt=0, allow_inf_nan=False)
    half_life_short: float = Field(25.0, gt=0, allow_inf_nan=False)

    @classmethod
    def load(cls, release: Release) -> Self:
        """Read a release's settings; raises BadRelease where they can't be used."""
        return cls.from_file(release, FUSION_SETTINGS)

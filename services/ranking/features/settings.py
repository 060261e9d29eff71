"""A release's settings of the fusion model."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from common.release.event_weights import EventWeights
from common.release.layout import FUSION_SETTINGS
from common.release.settings_file import SettingsFile
from common.release.store import Release


class FusionSettings(SettingsFile):
    """The inputs of the fusion model.

    Attributes:
        features: The names of its features, in the model's order.
        half_life_long: The number of events after which an event's weight is half, for habits.
        half_life_short: The same for current interests.
        events: How much an event of each kind counts.
    """

    features: tuple[str, ...] = Field(min_length=1)
    half_life_long: float = Field(150.0, gt=0, allow_inf_nan=False)
    half_life_short: float = Field(25.0, gt=0, allow_inf_nan=False)
    events: EventWeights = EventWeights()

    @classmethod
    def load(cls, release: Release) -> Self:
        """Read a release's settings; raises BadRelease if they cannot be used."""
        return cls.from_file(release, FUSION_SETTINGS)

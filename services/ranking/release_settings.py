"""A release's settings of the second stage: `ranker/ranker.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from common.release.layout import RANKER_SETTINGS
from common.release.settings_file import SettingsFile
from common.release.store import Release

# The kind of a request: what is known of the user, or that most candidates are not in the release.
Occasion = Literal["query", "history", "both", "new_user", "new_items"]

MAX_DEPTH: Final = 2_000
"""As many candidates as a request may have."""


class TierDepths(BaseModel):
    """How many candidates of a request each tier takes, the most probable first.

    Attributes:
        late_interaction: How many late interaction scores.
        cross_encoder: How many the cross-encoder reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    late_interaction: int = Field(ge=0, le=MAX_DEPTH)
    cross_encoder: int = Field(ge=0, le=MAX_DEPTH)


class RankerSettings(SettingsFile):
    """The inputs that the cross-encoder was trained on, and the tiers' depths.

    Attributes:
        context_items: How many of the latest distinct history items the user context contains.
        context_tokens: How many tokens of the user context are read.
        item_tokens: How many tokens of an item are read.
        depth: How many candidates of a request are read if neither request nor server nor plan sets a depth.
        plan: The tiers' depths by occasion, chosen on validation data.
        first_stage_order: Occasions in which the fusion by features alone did not improve the first stage's order on
            validation data; answers keep that order there.
    """

    context_items: int = Field(ge=0, le=1_000)
    context_tokens: int = Field(ge=1, le=4_096)
    item_tokens: int = Field(ge=1, le=4_096)
    depth: int = Field(100, ge=0, le=2_000)
    plan: Mapping[Occasion, TierDepths] = Field(default_factory=dict)
    first_stage_order: frozenset[Occasion] = frozenset()

    @classmethod
    def load(cls, release: Release) -> Self:
        """Read a release's settings; raises BadRelease if they cannot be used."""
        return cls.from_file(release, RANKER_SETTINGS)

    def planned_depths(self, occasion: Occasion) -> TierDepths:
        """Return the depths of an occasion; without a plan, late interaction scores every candidate."""
        return self.plan.get(occasion, TierDepths(late_interaction=2_000, cross_encoder=self.depth))

    @property
    def pair_tokens(self) -> int:
        """The longest pair, in tokens."""
        return self.context_tokens + self.item_tokens + 3

"""What a release says of its second stage: `ranker/ranker.json` and `fusion/fusion.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from common.release.layout import RANKER_SETTINGS
from common.release.settings_file import SettingsFile
from common.release.store import Release

# What a request is to a second stage: what is known of the user, or that most candidates are not in the release.
Occasion = Literal["query", "history", "both", "new_user", "new_items"]


class TierDepths(BaseModel):
    """How many candidates of a request each tier takes, the most promising first.

    Attributes:
        late_interaction: How many late interaction scores.
        cross_encoder: How many the cross-encoder reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    late_interaction: int = Field(ge=0, le=2_000)
    cross_encoder: int = Field(ge=0, le=2_000)


class RankerSettings(SettingsFile):
    """What the cross-encoder was trained to read.

    Attributes:
        context_items: How many of the last distinct history items stand in the user context.
        context_tokens: How many tokens of the user context it reads.
        item_tokens: How many tokens of an item it reads.
        depth: How many candidates of a request it reads where neither caller nor server nor plan says.
        plan: Depths of the tiers by occasion, as they paid on validation.
    """

    context_items: int = Field(ge=0, le=1_000)
    context_tokens: int = Field(ge=1, le=4_096)
    item_tokens: int = Field(ge=1, le=4_096)
    depth: int = Field(100, ge=0, le=2_000)
    plan: Mapping[Occasion, TierDepths] = Field(default_factory=dict)

    @classmethod
    def load(cls, release: Release) -> Self:
        """Read a release's settings; raises BadRelease where they can't be used."""
        return cls.from_file(release, RANKER_SETTINGS)

    def planned(self, occasion: Occasion) -> TierDepths:
        """Return the depths of an occasion; where there is no plan, late interaction scores every candidate."""
        return self.plan.get(occasion, TierDepths(late_interaction=2_000, cross_encoder=self.depth))

    @property
    def pair_tokens(self) -> int:
        """The longest pair, in tokens."""
        return self.context_tokens + self.item_tokens + 3

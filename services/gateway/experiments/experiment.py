"""Experiments as data, in a TOML file.

Such as::

    [[experiment]]
    name = "more-tail"
    share = 0.5                    # of the users; default all
    max_degraded_share = 0.05      # guard rails; default none
    max_p95_ms = 200

    [[experiment.variant]]
    name = "control"

    [[experiment.variant]]
    name = "tail"
    weight = 2                     # against the other variants; default 1
    min_long_tail_share = 0.2

The first variant is the control: it takes over the users of a variant that a guard rail stops.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import ShortlistError
from services.gateway.policy.policy import Policy
from services.gateway.recommendation.request import RecommendRequest, Stages

_HASH_BYTES: Final = 8
_MAX_EXPERIMENTS: Final = 16
_MAX_VARIANTS: Final = 16
_TARGETS: Final = frozenset({"retrieval_target", "ranking_target"})
# They label metrics and log lines.
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class BadExperiments(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """The file of experiments cannot be used; the message names the place."""

    status = "FAILED_PRECONDITION"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Data):
    """What a variant changes; what it leaves out is as without it. A request's own values come first.

    Attributes:
        name: Its name.
        weight: How many users it has against the other variants.
        candidates: How many candidates are retrieved and ranked.
        stages: Which stages select the items.
        min_probability: Items below it are left out.
        max_per_brand: Maximum number of items of one brand.
        max_per_category: Maximum number of items of one category.
        min_long_tail_share: Minimum share of long-tail items.
        min_new_item_share: Minimum share of new items.
        diversity: How much the items differ.
        exploration_share: The probability that a position is filled at random.
        retrieval_target: Addresses of a retrieval service with another release.
        ranking_target: Addresses of a ranking service with another release.
    """

    name: Name
    weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    candidates: int | None = Field(None, ge=1, le=1_000)
    stages: Literal["both", "first", "popular"] | None = None
    min_probability: Share | None = None
    max_per_brand: int | None = Field(None, ge=1)
    max_per_category: int | None = Field(None, ge=1)
    min_long_tail_share: Share | None = None
    min_new_item_share: Share | None = None
    diversity: Share | None = None
    exploration_share: Share | None = None
    retrieval_target: str | None = Field(None, min_length=1)
    ranking_target: str | None = Field(None, min_length=1)

    @property
    def changes(self) -> frozenset[str]:
        """The settings that it changes."""
        return frozenset(self.model_dump(exclude={"name", "weight"}, exclude_none=True))

    def apply(self, request: RecommendRequest) -> RecommendRequest:
        """Return a request with what the variant changes and the request leaves open."""
        policy, default = request.policy, Policy()
        open_rules = {
            name: value
            for name, value in self.model_dump(exclude_none=True).items()
            if hasattr(default, name) and getattr(policy, name) == getattr(default, name)
        }
        changed: dict[str, Any] = {"policy": replace(policy, **open_rules)} if open_rules else {}
        if self.candidates is not None:
            changed["candidates"] = self.candidates
        if self.exploration_share is not None:
            changed["exploration_share"] = self.exploration_share
        if self.stages is not None and request.stages is Stages.BOTH:
            changed["stages"] = Stages(self.stages)
        return replace(request, **changed)


class Experiment(_Data):
    """One experiment.

    Attributes:
        name: Its name.
        variants: Its variants; the first is the control.
        share: Share of the users that take part.
        salt: What the assignment is hashed with; another one assigns all users again. By default the name.
        max_degraded_share: Share of a variant's answers that may be degraded or fail; above it the variant is stopped.
        max_p95_ms: The 95th percentile of a variant's latency in milliseconds, above which it is stopped.
        min_answers: Answers of a variant before a guard rail may stop it.
    """

    name: Name
    variants: tuple[Variant, ...] = Field(alias="variant", min_length=2, max_length=_MAX_VARIANTS)
    share: Share = 1.0
    salt: str = ""
    max_degraded_share: float | None = Field(None, ge=0, lt=1)
    max_p95_ms: float | None = Field(None, gt=0)
    min_answers: int = Field(200, ge=1)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        twice = [name for name, count in Counter(variant.name for variant in self.variants).items() if count > 1]
        if twice:
            raise ValueError(f"two variants are called {twice[0]!r}")
        return self

    @property
    def changes(self) -> frozenset[str]:
        """The settings that its variants change."""
        return frozenset[str]().union(*(variant.changes for variant in self.variants))

    def assign(self, user_id: str) -> Variant | None:
        """Return a user's variant, always the same one; None if the user does not take part.

        Whether users take part and which variant they get are hashed apart, so that a larger ``share`` moves nobody.
        """
        if not user_id or self._fraction("share", user_id) >= self.share:
            return None
        left = self._fraction("variant", user_id) * sum(variant.weight for variant in self.variants)
        for variant in self.variants[:-1]:
            if left < variant.weight:
                return variant
            left -= variant.weight
        return self.variants[-1]

    def _fraction(self, purpose: str, user_id: str) -> float:
        """Return a number of [0, 1) that is as good as random, and always the same for a user."""
        text = f"{purpose}\0{self.salt or self.name}\0{user_id}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(text).digest()[:_HASH_BYTES]) / float(1 << 8 * _HASH_BYTES)


class _File(_Data):
    experiments: tuple[Experiment, ...] = Field(alias="experiment", max_length=_MAX_EXPERIMENTS)

    @model_validator(mode="after")
    def _do_not_meet(self) -> Self:
        names: set[str] = set()
        changed: dict[str, str] = {}
        own_services = [each.name for each in self.experiments if each.changes & _TARGETS]
        if len(own_services) > 1:  # one answer comes from one pair of services
            raise ValueError(f"{own_services[0]!r} and {own_services[1]!r} both have services of their own")
        for experiment in self.experiments:
            if experiment.name in names:
                raise ValueError(f"two experiments are called {experiment.name!r}")
            names.add(experiment.name)
            for setting in sorted(experiment.changes):
                if setting in changed:
                    raise ValueError(f"{changed[setting]!r} and {experiment.name!r} both change {setting}")
                changed[setting] = experiment.name
        return self


def read_experiments(file: Path) -> Sequence[Experiment]:
    """Read a file of experiments; raises BadExperiments."""
    try:
        return _File.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).experiments
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadExperiments(f"{file} cannot be read as experiments: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise BadExperiments(f"{file}: {place}: {first['msg']}; docs/experiments.md says what one holds") from error

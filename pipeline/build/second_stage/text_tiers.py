"""The text tiers of a release: trained where a short training gains, kept where their plan uses them.

Reading costs most of a build and of an answer, so it has to show a gain first. A cross-encoder is trained on a fraction
of the lists, and the fusion with its logits is compared with the one without, request by request, on validation users.
Only if some kind of request gains is the whole training worth its time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, get_args

import numpy as np
from transformers import BertForSequenceClassification

from common.arrays import Float64Array
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.build.steps.cross_encoder import fit_cross_encoder
from pipeline.build.steps.late_interaction import fit_late_interaction
from pipeline.build.steps.staged_release import write_fusion_settings, write_ranker_settings
from pipeline.learning.examples.fusion import ndcg_by_request
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.fusion.tier_plan import (
    MIN_REQUESTS,
    PLANNED_CONFIDENCE,
    TierOption,
    choose_depths,
    gaining_occasions,
    plan_report,
    unused_tiers,
)
from pipeline.learning.fusion.trees import FusionTrees, LabelledFeatures
from services.ranking.cascade.tiers import occasion
from services.ranking.release_settings import Occasion

# The share of the lists that the short training learns from, and the fewest of them.
_PROBE_SHARE: Final = 0.25
_MIN_PROBE_LISTS: Final = 8
# One standard error: a short training that gains a little may gain more with all lists, and the plan checks again.
PROBE_CONFIDENCE: Final = 0.84
_TIERS: Final = {"cross_encoder": layout.CROSS_ENCODER, "late_interaction": layout.LATE_FOLDER}
NO_GAIN: Final = "it gains too little, or nothing beyond noise, in every kind of request"
_NAMES: Final = {"cross_encoder": "cross-encoder", "late_interaction": "late interaction"}


@dataclass(frozen=True, eq=False)
class Fused:
    """A fusion fitted to what is staged.

    Attributes:
        fusion: Calibrated on the validation requests.
        served: The validation requests' candidates with the scores of every staged tier.
        options: Time and quality of each choice of tiers; one if no text tier is staged.
        requests: The requests that quality was measured on: the validation users', then others.
        occasions: The occasion of each.
    """

    fusion: FusionTrees
    served: LabelledFeatures
    options: Sequence[TierOption]
    requests: Sequence[LabelledCandidates]
    occasions: Sequence[str]

    def first_stage_order(self) -> list[str]:
        """Return the occasions in which the features alone do not improve the first stage's order.

        An occasion with few or no validation requests is one of them: nothing shows that ranking pays there.
        """
        cheapest = min(self.options, key=lambda option: option.ms)
        gain, occasions = cheapest.gain - self._first_stage_quality, np.array(self.occasions)
        of_kind = {kind: gain[(occasions == kind) & np.isfinite(gain)] for kind in np.unique(occasions)}
        improved = [kind for kind, part in of_kind.items() if len(part) >= MIN_REQUESTS and part.sum() > 0]
        return [kind for kind in get_args(Occasion) if kind not in improved]

    def options_over_either_order(self) -> list[TierOption]:
        """Return the options, the cheapest with the first stage's quality in the occasions that keep its order.

        Reading has to gain over what is served without it, and not over a fusion that is not used.
        """
        cheapest = min(self.options, key=lambda option: option.ms)
        keeps = np.isin(self.occasions, self.first_stage_order())
        served = dataclasses.replace(cheapest, gain=np.where(keeps, self._first_stage_quality, cheapest.gain))
        return [served if option is cheapest else option for option in self.options]

    @cached_property
    def _first_stage_quality(self) -> Float64Array:
        """Return NDCG@10 of the first stage's order by request."""
        return ndcg_by_request(self.requests, [-np.arange(len(one.labels), dtype=np.float64) for one in self.requests])


@dataclass(frozen=True)
class TextTiers:
    """Decides on the text tiers of a build.

    Attributes:
        context: The build.
        catalogue: The items.
        train: Requests to learn from.
        valid: Validation requests.
        data: What the requests are, in words.
        fit: Fits and calibrates the fusion on what is staged.
        shrink: Replaces the staged cross-encoder by smaller forms, if the settings ask for them.
    """

    context: BuildContext
    catalogue: Catalogue
    train: Sequence[LabelledCandidates]
    valid: Sequence[LabelledCandidates]
    data: str
    fit: Callable[[], Fused]
    shrink: Callable[[BertForSequenceClassification], None]

    def choose(self) -> Fused:
        """Train the tiers that may gain, drop those that do not, and write the plan; returns the fusion."""
        write_ranker_settings(self.context, {})
        if self._trains_cross_encoder():
            self.shrink(fit_cross_encoder(self.context, self.catalogue, self.train, self.valid, self.data))
        if self.context.settings.late_bits:
            fit_late_interaction(self.context, self.catalogue, self.train, self.data)
        fused = self.fit()
        while unused := self._unused(fused):
            for tier in unused:
                drop_tier(self.context, tier, NO_GAIN)
            fused = self.fit()
        plan = self._plan(fused)
        kept = [kind for kind in fused.first_stage_order() if not any(plan[kind].values())]
        write_plan(self.context, plan, fused.options_over_either_order(), fused.occasions, kept)
        if kept:
            self.context.report.console.print(
                f"Answers keep the first stage's order for {', '.join(kept)}: the features do not improve it there"
            )
        write_fusion_settings(self.context)
        return fused

    def _trains_cross_encoder(self) -> bool:
        settings = self.context.settings
        if not settings.cross_encoder_depth:
            return False
        return settings.tiers == "always" or self._short_training_gains()

    def _short_training_gains(self) -> bool:
        """Train on a fraction of the lists, and return whether some kind of request gains."""
        context = self.context
        short = _short(context)
        fit_cross_encoder(short, self.catalogue, self.train, self.valid, self.data, "short-checkpoints")
        fused = self.fit()
        drop_tier(context)
        context.staging.metrics.pop("training")
        return probe_gains(context, fused.options_over_either_order(), fused.occasions)

    def _unused(self, fused: Fused) -> list[str]:
        return unused_staged_tiers(self.context, self._plan(fused))

    def _plan(self, fused: Fused) -> dict[str, dict[str, int]]:
        options = fused.options_over_either_order()
        return choose_depths(options, fused.occasions, self.context.settings.min_gain_per_ms)


def occasions_of(requests: Sequence[LabelledCandidates]) -> list[str]:
    """Return the occasion of each request, as the ranking service names it."""
    return [occasion(one.user, one.candidates) for one in requests]


def staged_tiers(context: BuildContext) -> list[str]:
    """Return the text tiers that are staged, by the names of their models."""
    return [tier for tier in _TIERS if tier in context.staging.models]


def unused_staged_tiers(context: BuildContext, plan: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the staged tiers that a plan never uses; none if the settings ask for every tier always."""
    if context.settings.tiers == "always":
        return []
    return unused_tiers(plan, staged_tiers(context))


def probe_gains(context: BuildContext, options: Sequence[TierOption], occasions: Sequence[str]) -> bool:
    """Return whether a short training gains in some kind of request; says and records it.

    Args:
        context: The build.
        options: Time and quality of each choice of tiers with the cross-encoder of the short training.
        occasions: The occasion of each request.
    """
    gains = gaining_occasions(options, occasions, PROBE_CONFIDENCE)
    context.staging.metrics["short training"] = {"gains": gains, "tiers": plan_report(options, occasions)}
    if gains:
        found = ", ".join(f"{kind} {gain:+.4f}" for kind, gain in gains.items())
        context.report.console.print(f"A short training of the cross-encoder gains NDCG@10 ({found}): training it")
    else:
        context.report.console.print(
            "A short training of the cross-encoder gains nothing in any kind of request: it is neither trained nor in "
            "the release (--tiers always trains it)"
        )
    return bool(gains)


def write_plan(
    context: BuildContext,
    plan: Mapping[str, Mapping[str, int]],
    options: Sequence[TierOption],
    occasions: Sequence[str],
    first_stage_order: Collection[str] = (),
) -> None:
    """Write the depths of the staged tiers for every occasion, and record what each choice reaches.

    Args:
        context: The build.
        plan: Depths by tier for each occasion; not used if the settings ask for every tier always.
        options: Time and quality of each choice of tiers.
        occasions: The occasion of each validation request.
        first_stage_order: The occasions that keep the first stage's order.
    """
    staged = bool(staged_tiers(context))
    if staged:
        context.staging.metrics["tiers"] = plan_report(options, occasions)
    if staged and context.settings.tiers == "always":
        write_ranker_settings(context, {}, first_stage_order)
        return
    write_ranker_settings(context, plan, first_stage_order)
    if staged:
        for kind, depths in plan.items():
            found = ", ".join(f"{_NAMES[tier]} {depth:,}" for tier, depth in sorted(depths.items()))
            context.report.console.print(f"Depths for {kind}: {found}")


def drop_tier(context: BuildContext, tier: str = "cross_encoder", reason: str = "") -> None:
    """Take a tier out of the staged release; with a reason, say so."""
    staging = context.staging
    staging.remove(_TIERS[tier])
    staging.models.pop(tier, None)
    if reason:
        staging.metrics.setdefault("dropped tiers", {})[tier] = reason
        context.report.console.print(
            f"The {_NAMES[tier]} is not in the release: {reason}, with {PLANNED_CONFIDENCE:.0%} confidence"
        )


def _short(context: BuildContext) -> BuildContext:
    """Return the build with a fraction of the lists, and a warm-up in proportion."""
    settings = context.settings
    lists = max(round(settings.cross_encoder_lists * _PROBE_SHARE), _MIN_PROBE_LISTS)
    training = settings.cross_encoder
    warm_up = max(round(training.warm_up_steps * _PROBE_SHARE), 1)
    return dataclasses.replace(
        context,
        settings=dataclasses.replace(
            settings,
            cross_encoder_lists=min(lists, settings.cross_encoder_lists),
            cross_encoder=dataclasses.replace(training, warm_up_steps=warm_up, epochs=1),
        ),
    )

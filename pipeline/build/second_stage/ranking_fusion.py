"""The fusion of the recipes that learn the order of candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import lightgbm as lgb
import numpy as np
from transformers import BertForSequenceClassification

from common.arrays import Float64Array
from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.compression.compress import compress_cross_encoder
from pipeline.build.compression.gate import Gate
from pipeline.build.context import BuildContext
from pipeline.build.second_stage.text_tiers import Fused, TextTiers, occasions_of
from pipeline.build.steps.ranking_examples import RankingExamples
from pipeline.build.steps.staged_release import record_fusion
from pipeline.learning.examples.fusion import every_tier
from pipeline.learning.examples.text_tiers import FeatureExample, TierExamples, feature_parts, joined, ranked
from pipeline.learning.fusion.lambdamart import RankedExamples, fit_ranking, fit_ranking_with_logits
from pipeline.learning.fusion.trees import FusionTrees, calibrate, export_fusion
from pipeline.progress import ProgressStep

# Candidates of each validation request that smaller forms of the cross-encoder are judged on.
_JUDGED: Final = 40
# From the validation users' examples and a fusion to measures by name of what is measured.
Measure = Callable[[RankedExamples, FusionTrees], Mapping[str, Mapping[str, float]]]


class RankingFusion:
    """Fits trees without the validation users, as often as what is staged changes; then the served trees.

    Args:
        context: The build.
        catalogue: The items.
        examples: What to learn from.

    Raises:
        InvalidRequest: No validation user took a candidate.
    """

    def __init__(self, context: BuildContext, catalogue: Catalogue, examples: RankingExamples) -> None:
        valid, train = RankedExamples.join(examples.valid), RankedExamples.join(examples.train)
        if not valid.labels.any():
            raise InvalidRequest("no validation user took a candidate, so nothing can be calibrated")
        if context.examples_dir is not None:
            train.save(context.examples_dir / "learnt.npz")
            valid.save(context.examples_dir / "checked.npz")
        self._context = context
        self._catalogue = catalogue
        self._train = feature_parts(train, examples.train_requests)
        self._valid = feature_parts(valid, examples.valid_requests)
        best = context.recipe.ranked_candidates
        self._valid_best = [one.first(best) for one in self._valid if one.labels[:best].any()]
        self._without_logits: dict[tuple[str, ...], list[lgb.Booster]] = {}

    def fit(self) -> Fused:
        """Fit trees without the validation users and calibrate them, with the scores of the staged text tiers."""
        context = self._context
        tiers = self._tiers()
        with context.report.step("Fitting and calibrating on held-out users") as step:
            train = tiers.scored(self._train)
            first = self._first_trees(tiers, train, step)
            served = tiers.served(tiers.scored(self._valid), first, step)
            boosters = self._with_logits(tiers, first, train[-context.settings.logit_requests :], step)
            fusion = calibrate(boosters, every_tier(joined(served), tiers.names))
            options = tiers.options(served, fusion)
        requests = [one.labelled for one in served]
        return Fused(fusion, joined(served), options, requests, occasions_of(requests))

    def write(self, fused: Fused, measure: Measure, data: str) -> Float64Array:
        """Measure the calibrated fusion, fit the served trees with everybody, and export them.

        The served trees keep the calibration of the first ones: their scores have the same scale, and no users are
        left to calibrate them on.

        Args:
            fused: The fusion fitted to what is staged.
            measure: Measures it on the validation users.
            data: What the requests are, in words.

        Returns:
            The first trees' probabilities of the validation users' candidates; float64[candidates].
        """
        context, sizes = self._context, [len(one.labels) for one in self._valid]
        valid = RankedExamples(fused.served.features, fused.served.labels, np.array(sizes))
        context.staging.metrics["validation"] = measure(valid, fused.fusion)
        tiers = self._tiers()
        with context.report.step("Fitting the fusion to all users") as step:
            everybody = tiers.scored([*self._train, *self._valid_best])
            first = self._grow(tiers, everybody, [*self._train, *self._valid_best], step)
            read = everybody[len(self._train) - context.settings.logit_requests :]
            boosters = self._with_logits(tiers, first, read, step)
            fusion = FusionTrees(tuple(boosters), fused.fusion.slope, fused.fusion.intercept)
            parity_error = export_fusion(fusion, context.staging.file(layout.FUSION), fused.served.features)
        record_fusion(context, f"{len(everybody)} requests of {data}", parity_error)
        return fused.fusion.probability(fused.served.features)

    def _tiers(self) -> TierExamples:
        context = self._context
        depth = context.settings.cross_encoder_depth
        return TierExamples(context.staging.release(), self._catalogue, context.features, depth)

    def _first_trees(
        self, tiers: TierExamples, train: Sequence[FeatureExample], step: ProgressStep
    ) -> list[lgb.Booster]:
        """Return the trees that choose what is read; those without late scores are grown once for the same features."""
        if tiers.has_late:
            return self._grow(tiers, train, self._train, step)
        if tiers.names not in self._without_logits:
            self._without_logits[tiers.names] = self._grow(tiers, train, self._train, step)
        return self._without_logits[tiers.names]

    def _grow(
        self,
        tiers: TierExamples,
        scored: Sequence[FeatureExample],
        plain: Sequence[FeatureExample],
        step: ProgressStep,
    ) -> list[lgb.Booster]:
        settings, recipe = self._context.settings, self._context.recipe
        # Trees learn from requests without late scores too, so that they know what to do without.
        examples = [*scored, *tiers.widened(plain)] if tiers.has_late else scored
        return fit_ranking(
            ranked(examples),
            tiers.names,
            recipe.non_increasing_features,
            seeds=range(settings.seed, settings.seed + settings.boosters),
            trees=settings.trees,
            step=step,
            growing=recipe.lightgbm_params,
        )

    def _with_logits(
        self,
        tiers: TierExamples,
        first: Sequence[lgb.Booster],
        requests: Sequence[FeatureExample],
        step: ProgressStep,
    ) -> Sequence[lgb.Booster]:
        """Return the trees with a few more that learn from the logits of requests, if the cross-encoder is staged."""
        if not tiers.reads:
            return first
        read = tiers.read(requests, first, step).by_request()
        if read is None:
            return first
        recipe = self._context.recipe
        return fit_ranking_with_logits(
            first, read, tiers.names, recipe.non_increasing_features, growing=recipe.lightgbm_params
        )


def fit_ranking_fusion(
    context: BuildContext, catalogue: Catalogue, examples: RankingExamples, measure: Measure, data: str
) -> Float64Array:
    """Fit the fusion and choose the text tiers; see `RankingFusion.write` for what is measured and returned.

    Raises:
        InvalidRequest: No validation user took a candidate.
        CompressionRefused: A smaller cross-encoder loses more than the settings allow.
    """
    learner = RankingFusion(context, catalogue, examples)
    train, valid = examples.train_requests, examples.valid_requests
    gate = Gate(context.staging, [one.first(_JUDGED) for one in valid], context.settings.max_ndcg_loss, context.report)

    def shrink(model: BertForSequenceClassification) -> None:
        compress_cross_encoder(context, catalogue, model, train, gate)

    fused = TextTiers(context, catalogue, train, valid, data, learner.fit, shrink).choose()
    return learner.write(fused, measure, data)


def refuse_trimming(context: BuildContext) -> None:
    """Raise InvalidRequest if a trimmed vocabulary is asked for: only `baskets` can compare it with the whole one."""
    if context.settings.trim_vocabulary:
        raise InvalidRequest(f"the recipe {context.recipe.name} can't check a trimmed vocabulary: leave it whole")

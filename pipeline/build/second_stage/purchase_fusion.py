"""The fusion of the recipe `baskets`: trees that learn whether a candidate is bought."""

from __future__ import annotations

from collections.abc import Sequence

import lightgbm as lgb
import numpy as np

from common.arrays import Float64Array
from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.build.second_stage.text_tiers import Fused
from pipeline.build.steps.staged_release import record_fusion
from pipeline.learning.examples.fusion import every_tier, quality
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.learning.examples.text_tiers import FeatureExample, TierExamples, feature_examples, joined
from pipeline.learning.fusion.trees import LabelledFeatures, calibrate, export_fusion, fit_behaviour, fit_with_logits
from pipeline.progress import ProgressStep
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables


class PurchaseFusion:
    """Fits the fusion to what is staged, as often as that changes.

    Args:
        context: The build.
        catalogue: The items.
        train: Requests to learn from.
        valid: Requests to calibrate and measure on.

    Raises:
        InvalidRequest: No validation user bought a candidate.
    """

    def __init__(
        self,
        context: BuildContext,
        catalogue: Catalogue,
        train: Sequence[LabelledCandidates],
        valid: Sequence[LabelledCandidates],
    ) -> None:
        if not any(one.labels.any() for one in valid):
            raise InvalidRequest("no validation user bought a candidate, so nothing can be calibrated")
        self._context = context
        self._catalogue = catalogue
        with context.report.step("Computing features"):
            features = FeatureSet(context.recipe.features, ItemTables(context.staging.release(), catalogue))
            self._train = feature_examples(features, train)
            self._valid = feature_examples(features, valid)

    def fit(self) -> Fused:
        """Fit and calibrate the fusion, with the scores of the staged text tiers."""
        context = self._context
        depth = context.settings.cross_encoder_depth
        tiers = TierExamples(context.staging.release(), self._catalogue, context.features, depth)
        with context.report.step("Fitting and calibrating the fusion") as step:
            train = tiers.scored(self._train)
            boosters = self._grow(tiers, train, step)
            served = tiers.served(tiers.scored(self._valid), boosters[:1], step)
            fusion = calibrate(boosters[-1:], every_tier(joined(served), tiers.names))
            options = tiers.options(served, fusion)
        return Fused(fusion, joined(served), options, [one.labelled for one in served])

    def write(self, fused: Fused, trained_on: str) -> Float64Array:
        """Export the fusion and record its quality; returns the probabilities of the validation candidates."""
        context, names = self._context, self._context.features
        parity_error = export_fusion(fused.fusion, context.staging.file(layout.FUSION), fused.served.features)
        context.staging.metrics["validation"] = quality(fused.requests, fused.served, fused.fusion, names)
        record_fusion(context, trained_on, parity_error)
        return fused.fusion.probability(fused.served.features)

    def _grow(self, tiers: TierExamples, train: Sequence[FeatureExample], step: ProgressStep) -> list[lgb.Booster]:
        """Return the trees that choose what the cross-encoder reads, then those with its logits if it is staged."""
        settings = self._context.settings
        rows = joined(train)
        if tiers.has_late:  # so that trees know what to do without late scores
            plain = joined(tiers.widened(self._train))
            rows = LabelledFeatures(
                np.concatenate([rows.features, plain.features]), np.concatenate([rows.labels, plain.labels])
            )
        behaviour = fit_behaviour(rows, tiers.names, settings.seed)
        if not tiers.reads:
            return [behaviour]
        read = tiers.read(train[-settings.logit_requests :], [behaviour], step)
        return [behaviour, fit_with_logits(behaviour, read.pointwise(), tiers.names, settings.seed)]

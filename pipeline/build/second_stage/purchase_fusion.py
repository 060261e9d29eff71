"""The fusion of the recipe `baskets`: trees that learn whether a candidate is bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import lightgbm as lgb
import numpy as np

from common.arrays import Float64Array
from common.errors import InvalidRequest
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.build.second_stage.text_tiers import Fused, occasions_of
from pipeline.build.steps.staged_release import record_fusion
from pipeline.learning.examples.fusion import every_tier, quality
from pipeline.learning.examples.labelled_candidates import LabelledCandidates, as_new_items
from pipeline.learning.examples.text_tiers import FeatureExample, TierExamples, feature_examples, joined
from pipeline.learning.fusion.trees import LabelledFeatures, calibrate, export_fusion, fit_behaviour, fit_with_logits
from pipeline.progress import ProgressStep
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.release_settings import Occasion
from services.retrieval.candidates.release_settings import FirstStageSettings

_NEW_ITEMS: Final[Occasion] = "new_items"
# The share of a search's candidates that are new in examples of new items among known ones. Of .05 to .3, .05 and .1
# lost least in other searches.
_NEW_SHARE: Final = 0.1
# Of the judged searches to learn from, the share whose logits the fusion learns from: the cross-encoder does not.
_LOGIT_SHARE: Final = 1 / 3


@dataclass(frozen=True)
class JudgedCandidates:
    """The candidates of searches whose relevant items were judged.

    Attributes:
        train: Searches to learn from.
        checked: Searches to plan tiers by.
    """

    train: Sequence[LabelledCandidates] = ()
    checked: Sequence[LabelledCandidates] = ()

    @property
    def for_tiers(self) -> Sequence[LabelledCandidates]:
        """The searches that the text tiers learn from."""
        return self.train[: len(self.train) - self.for_logits]

    @property
    def for_logits(self) -> int:
        """How many searches, the last ones, the fusion learns from with logits."""
        return round(len(self.train) * _LOGIT_SHARE)


class PurchaseFusion:
    """Fits the fusion to what is staged, as often as that changes.

    Searches are also learned from, and planned by, as if their candidates were new items: found by texts alone, and
    without anything that the release has counted. They are learned from as if a few were new, too: new items are
    sought among known ones, and trees that never met this put what was never counted last.

    Args:
        context: The build.
        catalogue: The items.
        train: Requests to learn from.
        valid: Requests to calibrate and measure on.
        judged: Judged searches.

    Raises:
        InvalidRequest: No validation user bought a candidate.
    """

    def __init__(
        self,
        context: BuildContext,
        catalogue: Catalogue,
        train: Sequence[LabelledCandidates],
        valid: Sequence[LabelledCandidates],
        judged: JudgedCandidates = JudgedCandidates(),
    ) -> None:
        if not any(one.labels.any() for one in valid):
            raise InvalidRequest("no validation user bought a candidate, so nothing can be calibrated")
        self._context = context
        self._catalogue = catalogue
        with context.report.step("Computing features"):
            features = FeatureSet(context.recipe.features, ItemTables(context.staging.release(), catalogue))
            self._train = feature_examples(features, train)
            self._valid = feature_examples(features, valid)
            self._judged = feature_examples(features, judged.train)
            self._checked = feature_examples(features, judged.checked)
            self._new, self._new_judged, self._new_checked = (
                self._as_new(features, part) for part in (train, judged.train, [*valid, *judged.checked])
            )
            self._few_new, self._few_new_judged = (
                self._as_new(features, part, _NEW_SHARE) for part in (train, judged.train)
            )
            self._for_logits = judged.for_logits

    def fit(self) -> Fused:
        """Fit and calibrate the fusion, with the scores of the staged text tiers."""
        context = self._context
        depth = context.settings.cross_encoder_depth
        tiers = TierExamples(context.staging.release(), self._catalogue, context.features, depth)
        with context.report.step("Fitting and calibrating the fusion") as step:
            boosters = self._grow(tiers, step)
            served = tiers.served(tiers.scored(self._valid), boosters[:1], step)
            fusion = calibrate(boosters[-1:], every_tier(joined(served), tiers.names))
            others = tiers.served(tiers.scored([*self._checked, *self._new_checked]), boosters[:1], step)
            options = tiers.options([*served, *others], fusion)
        requests = [one.labelled for one in (*served, *others)]
        known = occasions_of(requests[: len(requests) - len(self._new_checked)])
        occasions = [*known, *[_NEW_ITEMS] * len(self._new_checked)]
        return Fused(fusion, joined(served), options, requests, occasions)

    def write(self, fused: Fused, trained_on: str) -> Float64Array:
        """Export the fusion and record its quality; returns the probabilities of the validation candidates."""
        context, names = self._context, self._context.features
        parity_error = export_fusion(fused.fusion, context.staging.file(layout.FUSION), fused.served.features)
        context.staging.metrics["validation"] = quality(
            fused.requests[: len(self._valid)], fused.served, fused.fusion, names
        )
        record_fusion(context, trained_on, parity_error)
        return fused.fusion.probability(fused.served.features)

    def _grow(self, tiers: TierExamples, step: ProgressStep) -> list[lgb.Booster]:
        """Return the trees that choose what the cross-encoder reads, then those with its logits if it is staged."""
        settings = self._context.settings
        bought = _rows(tiers, [*self._train, *self._new, *self._few_new])
        rows = bought.with_judged(_rows(tiers, [*self._judged, *self._new_judged, *self._few_new_judged]))
        behaviour = fit_behaviour(rows, tiers.names, settings.seed)
        if not tiers.reads:
            return [behaviour]
        last = self._train[-settings.logit_requests :]
        read = tiers.read(tiers.scored(last), [behaviour], step).pointwise()
        unread = tiers.scored(self._last_judged())
        if unread:
            read = read.with_judged(tiers.read(unread, [behaviour], step).pointwise())
        return [behaviour, fit_with_logits(behaviour, read, tiers.names, settings.seed)]

    def _last_judged(self) -> list[FeatureExample]:
        """Return the judged searches that the cross-encoder has not learned from, as known and as new items."""
        kept = {one.labelled.user.query for one in self._judged[len(self._judged) - self._for_logits :]}
        return [one for one in (*self._judged, *self._new_judged) if one.labelled.user.query in kept]

    def _as_new(
        self, features: FeatureSet, labelled: Sequence[LabelledCandidates], share: float = 1.0
    ) -> list[FeatureExample]:
        """Return the searches with a share of their candidates as new items, drawn at random."""
        settings = FirstStageSettings.load(self._context.staging.release())
        generator, examples = np.random.default_rng(self._context.settings.seed), []
        for one in labelled:
            are_new = generator.random(len(one.labels)) < share
            made = as_new_items(one, settings, are_new)
            if made is not None:
                rows = made.candidates.rows
                known = np.where(np.isin(rows, one.candidates.rows[are_new]), -1, rows)
                matrix = features.matrix(made.user, replace(made.candidates, rows=known))
                examples.append(FeatureExample(made, matrix))
        return examples


def _rows(tiers: TierExamples, examples: Sequence[FeatureExample]) -> LabelledFeatures:
    """Return the candidates of examples with late interaction's scores, and without, so that trees know both."""
    if not examples:
        return LabelledFeatures(np.empty((0, len(tiers.names)), np.float32), np.empty(0, np.float32))
    return joined([*tiers.scored(examples), *(tiers.widened(examples) if tiers.has_late else [])])

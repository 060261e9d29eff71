"""The fusion of the recipes that learn the order of candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import lightgbm as lgb

from common.arrays import Float64Array
from common.errors import InvalidRequest
from common.release import layout
from pipeline.build.context import BuildContext
from pipeline.build.steps.ranking_examples import RankingExamples
from pipeline.build.steps.staged_release import record_fusion
from pipeline.learning.fusion.lambdamart import RankedExamples, fit_ranking
from pipeline.learning.fusion.trees import FusionTrees, LabelledFeatures, calibrate, export_fusion
from pipeline.progress import ProgressStep

# From the validation users' examples and a fusion to measures by name of what is measured.
Measure = Callable[[RankedExamples, FusionTrees], Mapping[str, Mapping[str, float]]]


def fit_ranking_fusion(context: BuildContext, examples: RankingExamples, measure: Measure, data: str) -> Float64Array:
    """Fit trees without the validation users, calibrate and measure them, then fit the served trees with everybody.

    The served trees keep the calibration of the first ones: their scores have the same scale, and no users are left
    to calibrate them on.

    Args:
        context: The build.
        examples: What to learn from.
        measure: Measures the calibrated fusion on the validation users.
        data: What the requests are, in words.

    Returns:
        The first trees' probabilities of the validation users' candidates; float64[candidates].

    Raises:
        InvalidRequest: No validation user took a candidate.
    """
    valid = RankedExamples.join(examples.valid)
    if not valid.labels.any():
        raise InvalidRequest("no validation user took a candidate, so nothing can be calibrated")
    train = RankedExamples.join(examples.train)
    if context.examples_dir is not None:
        train.save(context.examples_dir / "learnt.npz")
        valid.save(context.examples_dir / "checked.npz")
    with context.report.step("Fitting and calibrating on held-out users") as step:
        calibrated = calibrate(_fit(context, train, step), LabelledFeatures(valid.features, valid.labels))
        context.staging.metrics["validation"] = measure(valid, calibrated)
    everybody = RankedExamples.join([train, *examples.valid_best])
    with context.report.step("Fitting the fusion to all users") as step:
        fusion = FusionTrees(tuple(_fit(context, everybody, step)), calibrated.slope, calibrated.intercept)
        parity_error = export_fusion(fusion, context.staging.file(layout.FUSION), valid.features)
    record_fusion(context, f"{len(everybody.sizes)} requests of {data}", parity_error)
    return calibrated.probability(valid.features)


def _fit(context: BuildContext, examples: RankedExamples, step: ProgressStep) -> list[lgb.Booster]:
    settings, recipe = context.settings, context.recipe
    return fit_ranking(
        examples,
        recipe.features,
        recipe.non_increasing_features,
        seeds=range(settings.seed, settings.seed + settings.boosters),
        trees=settings.trees,
        step=step,
        growing=recipe.lightgbm_params,
    )


def refuse_compression(context: BuildContext) -> None:
    """Raise InvalidRequest if a compressed cross-encoder is asked for: checking one needs pairs that are read."""
    if context.settings.compressed:
        raise InvalidRequest(
            f"the recipe {context.recipe.name} reads no pairs: leave precision at fp32, the vocabulary whole, and ask "
            "for no student"
        )

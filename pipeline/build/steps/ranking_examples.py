"""Training examples of the recipes whose fusion learns the order of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from common.arrays import Float32Array
from common.release.catalogue import Catalogue
from pipeline.build.context import BuildContext
from pipeline.build.steps.first_stage import learn_first_stage_weights, open_first_stage
from pipeline.data.dataset.training_requests import ShopRequest
from pipeline.learning.examples.labelled_candidates import LabelledCandidates, label_candidates
from pipeline.learning.fusion.lambdamart import RankedExamples
from services.ranking.features.feature_context import HalfLives
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables

_CHUNK: Final = 32
_WEIGHT_REQUESTS: Final = 1_500


@dataclass(frozen=True)
class RankingExamples:
    """Requests with their candidates and features.

    Attributes:
        train: Examples of all users but the validation users: the best candidates of each request.
        train_requests: The same requests with all candidates, for the cross-encoder.
        valid: Examples of the validation users, with every candidate, as it is served.
        valid_best: The same cut to the best candidates, for the trees that are served.
        valid_requests: The requests of the validation users.
    """

    train: Sequence[RankedExamples] = ()
    train_requests: Sequence[LabelledCandidates] = ()
    valid: Sequence[RankedExamples] = ()
    valid_best: Sequence[RankedExamples] = ()
    valid_requests: Sequence[LabelledCandidates] = ()

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put examples one after another."""
        return cls(
            [one for part in parts for one in part.train],
            [one for part in parts for one in part.train_requests],
            [one for part in parts for one in part.valid],
            [one for part in parts for one in part.valid_best],
            [one for part in parts for one in part.valid_requests],
        )


def make_ranking_examples(
    context: BuildContext,
    catalogue: Catalogue,
    requests: Sequence[ShopRequest],
    is_validation: Sequence[bool],
    title: str = "Retrieving candidates",
) -> RankingExamples:
    """Find the candidates of requests with the staged tables, and compute their features.

    Args:
        context: The build.
        catalogue: The items.
        requests: The requests.
        is_validation: For each request, whether its user is a validation user.
        title: The progress step's title.
    """
    features, limit = feature_set(context, catalogue), context.settings.candidates
    parts = []
    with open_first_stage(context) as first_stage, context.report.step(title, len(requests)) as step:
        for start in range(0, len(requests), _CHUNK):
            drawn = label_candidates(first_stage, requests[start : start + _CHUNK], limit, step)
            for example, validates in zip(drawn, is_validation[start : start + _CHUNK], strict=True):
                make = _validation_example if validates else _training_example
                parts.append(make(example, features, context.recipe.ranked_candidates))
    made = RankingExamples.join(parts)
    # One array in place of thousands of small ones.
    train = [RankedExamples.join(made.train)] if made.train else []
    return RankingExamples(train, made.train_requests, made.valid, made.valid_best, made.valid_requests)


def _training_example(example: LabelledCandidates, features: FeatureSet, best: int) -> RankingExamples:
    if not example.labels[:best].any():
        return RankingExamples()
    matrix = features.matrix(example.user, example.candidates)
    return RankingExamples(train=[_ranked(matrix, example, best)], train_requests=[example])


def _validation_example(example: LabelledCandidates, features: FeatureSet, best: int) -> RankingExamples:
    matrix = features.matrix(example.user, example.candidates)
    valid_best = [_ranked(matrix, example, best)] if example.labels[:best].any() else []
    return RankingExamples(
        valid=[_ranked(matrix, example, len(matrix))], valid_best=valid_best, valid_requests=[example]
    )


def _ranked(matrix: Float32Array, example: LabelledCandidates, best: int) -> RankedExamples:
    return RankedExamples(matrix[:best], example.labels[:best], np.array([min(len(matrix), best)]))


def learn_weights_from_sample(
    context: BuildContext, requests: Sequence[ShopRequest], judged: Sequence[ShopRequest] = ()
) -> None:
    """Learn the sources' weights from a sample of the requests and from judged searches, and write them."""
    chosen = np.random.default_rng(context.settings.seed).permutation(len(requests))[:_WEIGHT_REQUESTS]
    sample = [requests[place] for place in np.sort(chosen)]
    learn_first_stage_weights(context, [*sample, *judged], context.settings.candidates)


def feature_set(context: BuildContext, catalogue: Catalogue) -> FeatureSet:
    """Return the recipe's features over the staged tables."""
    recipe = context.recipe
    half_lives = HalfLives(recipe.half_life_long, recipe.half_life_short)
    return FeatureSet(recipe.features, ItemTables(context.staging.release(), catalogue), half_lives)

"""The fusion of judged searches: trees that learn grades, from scores of models that have not seen the query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from pipeline.learning.fusion.trees import FusionTrees, platt, raw_score
from pipeline.progress import ProgressStep


@dataclass(frozen=True, eq=False)
class GradedExamples:
    """Judged pairs as the fusion reads them, one query's after the other.

    Attributes:
        views: The same pairs, float32[pairs, features], with all that may be known of them and, below, with less.
        grades: From 0 to 1; float32[pairs].
        fold: The fold of each pair's query; int64[pairs].
    """

    views: Mapping[str, Float32Array]
    grades: Float32Array
    fold: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """A fusion, and what ones that had not seen the query said of each pair.

    Attributes:
        fusion: Fitted to every pair.
        held_out: Held-out probabilities by view; float64[pairs].
    """

    fusion: FusionTrees
    held_out: Mapping[str, npt.NDArray[np.float64]]


def cross_fit_fusion(
    examples: GradedExamples, names: Sequence[str], *, seeds: Sequence[int], trees: int, step: ProgressStep
) -> CrossFitted:
    """Fit trees fold by fold to calibrate them, then to every pair.

    A probability is the expected grade, as a share of the highest. The trees that are served keep the folds'
    calibration, made on the view that knows most, since no query is left over.

    Args:
        examples: The training examples.
        names: The features' names.
        seeds: Of LightGBM's sampling; one booster each, averaged.
        trees: Trees of a booster.
        step: Advanced by one for each booster.
    """
    folds = np.unique(examples.fold)
    step.at(0, (len(folds) + 1) * len(seeds))
    scores = {view: np.empty(len(examples.grades)) for view in examples.views}
    for fold in folds:
        held = examples.fold == fold
        boosters = _fit(examples, ~held, names, seeds, trees, step)
        for view, features in examples.views.items():
            scores[view][held] = raw_score(boosters, features[held])
    slope, intercept = platt(next(iter(scores.values())), examples.grades)
    every = np.ones(len(examples.grades), bool)
    fusion = FusionTrees(tuple(_fit(examples, every, names, seeds, trees, step)), slope, intercept)
    return CrossFitted(fusion, {view: fusion.calibrated(raw) for view, raw in scores.items()})


def _fit(
    examples: GradedExamples,
    chosen: npt.NDArray[np.bool_],
    names: Sequence[str],
    seeds: Sequence[int],
    trees: int,
    step: ProgressStep,
) -> list[lgb.Booster]:
    """Fit to every view of the pairs, so that the trees know what to do with each."""
    features = np.concatenate([view[chosen] for view in examples.views.values()])
    grades = np.tile(examples.grades[chosen], len(examples.views))
    boosters = []
    for seed in seeds:
        data = lgb.Dataset(features, grades, feature_name=list(names))
        boosters.append(lgb.train(_SETTINGS | {"seed": seed}, data, trees))
        step.advance()
    return boosters


# Grades are shares of the highest: cross-entropy against them makes the raw score a log-odds.
_SETTINGS: Final = {
    "objective": "cross_entropy",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 80,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}

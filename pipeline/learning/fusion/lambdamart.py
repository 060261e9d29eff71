"""A bag of LambdaMART boosters (Burges, 2010): trees that learn the order of each request's candidates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from common.arrays import Float32Array
from pipeline.progress import ProgressStep

_LOGIT_ROUNDS: Final = 25


@dataclass(frozen=True, eq=False)
class RankedExamples:
    """Candidates of many requests, one request after another, as the first stage ordered them.

    Attributes:
        features: float32[rows, features]; NaN if a feature is missing.
        labels: 1 for what came next; float32[rows].
        sizes: Candidates of each request; shape [requests].
    """

    features: Float32Array
    labels: Float32Array
    sizes: npt.NDArray[np.int64]

    @classmethod
    def join(cls, parts: Sequence[RankedExamples]) -> Self:
        """Put examples one after another."""
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.sizes for part in parts]),
        )

    def save(self, file: Path) -> None:
        """Write the examples, for `load`."""
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, features=self.features, labels=self.labels, sizes=self.sizes)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(file) as arrays:
            return cls(arrays["features"], arrays["labels"], arrays["sizes"])

    def columns(self, places: Sequence[int]) -> RankedExamples:
        """Return the same with some of the features."""
        return RankedExamples(np.ascontiguousarray(self.features[:, places]), self.labels, self.sizes)


def fit_ranking(
    examples: RankedExamples,
    names: Sequence[str],
    falling: Collection[str],
    *,
    seeds: Sequence[int],
    trees: int,
    step: ProgressStep,
    growing: Mapping[str, Any] = MappingProxyType({}),
) -> list[lgb.Booster]:
    """Fit one booster for each seed.

    Args:
        examples: What to learn from; requests without a bought item should be left out. All candidates of a
            request are needed: a sample of the lower ones would make them look better than they are.
        names: The features' names.
        falling: Features of which more may be worse; with all others a score may only rise.
        seeds: Of LightGBM's sampling.
        trees: How many trees a booster has.
        step: Told how many trees are grown.
        growing: LightGBM's parameters that differ from the ones here.
    """
    data, rising = _dataset(examples, names), _rising(names, falling)
    step.at(0, len(seeds) * trees)
    return [
        lgb.train({**_settings(seed, rising), **growing}, data, trees, callbacks=[lambda _: step.advance()])
        for seed in seeds
    ]


def fit_ranking_with_logits(
    first: Sequence[lgb.Booster],
    read: RankedExamples,
    names: Sequence[str],
    falling: Collection[str],
    *,
    growing: Mapping[str, Any] = MappingProxyType({}),
) -> list[lgb.Booster]:
    """Fit a few more trees to each booster, on candidates that the cross-encoder read.

    Args:
        first: The boosters, fitted to the same features without logits.
        read: Requests with logits and the same requests without them; the cross-encoder was not trained on them.
        names: The features' names.
        falling: Features of which more may be worse.
        growing: LightGBM's parameters that differ from the ones here.
    """
    rising = _rising(names, falling)
    return [
        lgb.train({**_settings(number, rising), **growing}, _dataset(read, names), _LOGIT_ROUNDS, init_model=booster)
        for number, booster in enumerate(first)
    ]


def _dataset(examples: RankedExamples, names: Sequence[str]) -> lgb.Dataset:
    return lgb.Dataset(
        examples.features,
        examples.labels,
        group=examples.sizes,
        feature_name=list(names),
        params={"max_bin": 127, "verbose": -1, "feature_pre_filter": False},
    )


def _rising(names: Sequence[str], falling: Collection[str]) -> list[int]:
    return [0 if name in falling else 1 for name in names]


def _settings(seed: int, rising: Sequence[int]) -> dict[str, object]:
    return {
        "objective": "lambdarank",
        "metric": "None",
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": 50,
        "feature_fraction": 0.4,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "extra_trees": True,
        "max_bin": 127,
        "lambdarank_truncation_level": 12,
        "monotone_constraints": list(rising),
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "force_col_wise": True,  # half the time of rows: each tree reads less than half of the features
        "verbose": -1,
    }

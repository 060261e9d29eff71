"""The fusion model: calibrated gradient-boosted trees over logit, scores and features, in ONNX.

LightGBM (Ke et al., NeurIPS 2017) fits the trees on one part of the users, Platt scaling (Platt 1999) the probability
on another; both are exported as one ONNX graph, so serving needs only onnxruntime. Scoring pairs is expensive, so only
some candidates have logits: most trees are fitted to behaviour alone, and a few more to the residuals with logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression

from common.arrays import Float32Array
from pipeline.release.export.tree_ensemble import ML_DOMAIN, ML_OPSET, tree_ensemble

PARITY_TOLERANCE: Final = 1e-5
_OPSET: Final = 17
_IR_VERSION: Final = 8
_BEHAVIOUR_ROUNDS: Final = 75
_LOGIT_ROUNDS: Final = 25


@dataclass(frozen=True)
class LabelledFeatures:
    """Features and labels of the candidates of many requests, concatenated.

    Attributes:
        features: float32 [rows, features]; NaN if a feature is missing.
        labels: float32 [rows]; 1 if the user bought the item next.
        weights: What each row counts in training; None if all count 1; float32 [rows].
    """

    features: Float32Array
    labels: Float32Array
    weights: Float32Array | None = None

    def with_judged(self, judged: LabelledFeatures) -> LabelledFeatures:
        """Return these rows followed by judged ones, which count as if as few were relevant as are bought here.

        So they teach what makes an item relevant, and leave the probabilities those of buying.
        """
        bought, relevant = float(self.labels.mean()), float(judged.labels.mean()) if len(judged.labels) else 0.0
        if not 0 < relevant < 1:
            return self
        counted = np.where(judged.labels > 0, bought / relevant, (1 - bought) / (1 - relevant))
        own = np.ones(len(self.labels)) if self.weights is None else self.weights
        return LabelledFeatures(
            np.concatenate([self.features, judged.features]),
            np.concatenate([self.labels, judged.labels]),
            np.concatenate([own, counted]).astype(np.float32),
        )


@dataclass(frozen=True)
class FusionTrees:
    """Fitted trees and their calibration: probability = sigmoid(slope * raw + intercept).

    Attributes:
        boosters: The trees; several boosters (a bag) are averaged.
        slope: Of the calibration.
        intercept: Of the calibration.
    """

    boosters: tuple[lgb.Booster, ...]
    slope: float
    intercept: float

    def raw(self, features: Float32Array) -> npt.NDArray[np.float64]:
        """Return the boosters' mean raw score of each row; shape [rows]."""
        return raw_score(self.boosters, features)

    def probability(self, features: Float32Array) -> npt.NDArray[np.float64]:
        """Return the calibrated probability of each row; shape [rows]."""
        return self.calibrated(self.raw(features))

    def calibrated(self, raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the probabilities of raw scores."""
        return 1.0 / (1.0 + np.exp(-(self.slope * raw + self.intercept)))


def raw_score(boosters: Sequence[lgb.Booster], features: Float32Array) -> npt.NDArray[np.float64]:
    """Return the mean raw score of several boosters; shape [rows]."""
    scores = [np.asarray(booster.predict(features, raw_score=True, num_threads=1)) for booster in boosters]
    return np.asarray(np.mean(scores, axis=0))


def fit_behaviour(examples: LabelledFeatures, names: Sequence[str], seed: int) -> lgb.Booster:
    """Fit the first trees to candidates without logits; they select the candidates that the cross-encoder scores."""
    data = lgb.Dataset(examples.features, examples.labels, weight=examples.weights, feature_name=list(names))
    return lgb.train(_settings(seed), data, _BEHAVIOUR_ROUNDS)


def fit_with_logits(first: lgb.Booster, read: LabelledFeatures, names: Sequence[str], seed: int) -> lgb.Booster:
    """Fit a few more trees to the residuals of the first ones, on candidates with logits.

    Args:
        first: The trees fitted to behaviour.
        read: Candidates with logits, none of which the cross-encoder was trained on, and the same candidates without
            logits, so that the trees handle missing logits.
        names: The features' names.
        seed: Seed of LightGBM's sampling.
    """
    data = lgb.Dataset(read.features, read.labels, weight=read.weights, feature_name=list(names))
    return lgb.train(_settings(seed), data, _LOGIT_ROUNDS, init_model=first)


def calibrate(boosters: Sequence[lgb.Booster], valid: LabelledFeatures) -> FusionTrees:
    """Fit the calibration to candidates as served, of users that the trees were not fitted to."""
    slope, intercept = platt(raw_score(boosters, valid.features), valid.labels)
    return FusionTrees(tuple(boosters), slope, intercept)


def _settings(seed: int) -> dict[str, object]:
    return {
        "objective": "binary",
        "learning_rate": 0.1,
        "num_leaves": 12,
        "min_data_in_leaf": 100,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 10.0,
        "seed": seed,
        "num_threads": 1,  # repeatable, and still takes only seconds
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }


def export_fusion(fusion: FusionTrees, file: Path, sample: Float32Array) -> float:
    """Write trees and calibration as one ONNX graph; returns the largest difference in probability on ``sample``.

    Input `features` float32 [n, features]; output `probability` float32 [n].

    Raises:
        ValueError: The graph differs from the fitted model by more than 1e-5.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(_graph(fusion), str(file))
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    got = session.run(None, {"features": sample})[0]
    worst = float(np.abs(got - fusion.probability(sample)).max(initial=0.0))
    if worst > PARITY_TOLERANCE:
        raise ValueError(f"{file.name} differs from the fitted fusion by {worst:.2e}, more than {PARITY_TOLERANCE:.0e}")
    return worst


def platt(raw: npt.NDArray[np.float64], labels: Float32Array) -> tuple[float, float]:
    """Fit slope and intercept by logistic regression without a penalty; labels may be fractions."""
    both = np.tile(raw, 2)[:, None]
    shares = np.concatenate([labels, 1 - labels])
    model = LogisticRegression(C=np.inf).fit(both, np.repeat([1, 0], len(raw)), sample_weight=shares)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _graph(fusion: FusionTrees) -> onnx.ModelProto:
    """Append the calibration to the trees' raw score."""
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", fusion.boosters[0].num_feature()])
    probability = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n"])
    constants = [
        helper.make_tensor("slope", TensorProto.FLOAT, [], [fusion.slope]),
        helper.make_tensor("intercept", TensorProto.FLOAT, [], [fusion.intercept]),
        helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
    ]
    nodes = [
        tree_ensemble(fusion.boosters, "features", "raw"),
        helper.make_node("Reshape", ["raw", "flat"], ["row"]),
        helper.make_node("Mul", ["row", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "intercept"], ["calibrated"]),
        helper.make_node("Sigmoid", ["calibrated"], ["probability"]),
    ]
    graph = helper.make_graph(nodes, "fusion", [features], [probability], constants)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(ML_DOMAIN, ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return model

"""Fitting the fusion and writing it as ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.onnx_session import OnnxModel, SessionOptions
from pipeline.learning.fusion.source_weights import fit_source_weights
from pipeline.learning.fusion.trees import (
    FusionTrees,
    LabelledFeatures,
    calibrate,
    export_fusion,
    fit_behaviour,
    fit_with_logits,
)

ROWS, FEATURES = 4_000, 5


def _examples(seed: int) -> LabelledFeatures:
    """Draw rows whose label depends on features 0 and 1, with missing values in 1 and 2, and in 3 only missing ones."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    features[generator.random(ROWS) < 0.3, 1] = np.nan
    features[generator.random(ROWS) < 0.5, 2] = np.nan
    features[:, 3] = np.nan
    chance = 1 / (1 + np.exp(-(features[:, 0] + 2 * np.nan_to_num(features[:, 1]) - 1)))
    labels = (generator.random(ROWS) < chance).astype(np.float32)
    return LabelledFeatures(features, labels)


def test_judged_rows_count_as_if_as_few_were_relevant_as_are_bought():
    """They count as many rows as they are; without relevant ones, or with nothing else, they teach no order."""
    bought = LabelledFeatures(np.zeros((100, 2), np.float32), (np.arange(100) < 5).astype(np.float32))
    judged = LabelledFeatures(np.ones((10, 2), np.float32), (np.arange(10) < 4).astype(np.float32))
    both = bought.with_judged(judged)
    assert both.weights is not None
    assert both.labels.tolist() == [*bought.labels, *judged.labels]
    assert both.weights[:100].tolist() == [1.0] * 100
    assert both.weights[100:].sum() == pytest.approx(10)
    assert np.average(both.labels[100:], weights=both.weights[100:]) == pytest.approx(0.05)
    for useless in (np.zeros(10, np.float32), np.ones(10, np.float32), np.empty(0, np.float32)):
        assert bought.with_judged(LabelledFeatures(judged.features[: len(useless)], useless)) is bought


@pytest.fixture(scope="module")
def fusion() -> FusionTrees:
    first = fit_behaviour(_examples(1), "abcde", seed=1)
    return calibrate([fit_with_logits(first, _examples(2), "abcde", seed=1)], _examples(5))


def test_onnx_equals_the_trees_with_missing_values_too(fusion: FusionTrees, tmp_path: Path):
    """The graph gives the fitted probability, also where features are missing that never were, or all are."""
    features = _examples(3).features
    features[:50, 0] = np.nan
    features[50:60] = np.nan
    export_fusion(fusion, tmp_path / "model.onnx", features)
    got = OnnxModel(tmp_path / "model.onnx", SessionOptions(threads=1)).run({"features": features})
    assert got == pytest.approx(fusion.probability(features), abs=1e-5)


def test_thresholds_split_float32_as_double(fusion: FusionTrees, tmp_path: Path):
    """A feature right at a split falls on the side that LightGBM puts it on."""
    splits = np.array(
        [
            value
            for tree in fusion.boosters[0].dump_model()["tree_info"]
            for value in _thresholds(tree["tree_structure"])
        ]
    )
    features = np.zeros((len(splits), FEATURES), np.float32)
    features[:, 0] = splits.clip(-10, 10).astype(np.float32)
    export_fusion(fusion, tmp_path / "model.onnx", features)


def _thresholds(part: dict) -> list[float]:
    if "leaf_value" in part:
        return []
    return [part["threshold"], *_thresholds(part["left_child"]), *_thresholds(part["right_child"])]


def test_probabilities_are_calibrated_on_users_not_trained_on(fusion: FusionTrees):
    """Among rows given a probability of p about the share p is bought."""
    fresh = _examples(4)
    probability = fusion.probability(fresh.features)
    bins = np.digitize(probability, [0.2, 0.4, 0.6, 0.8])
    gaps = [abs(probability[bins == k].mean() - fresh.labels[bins == k].mean()) for k in range(5)]
    assert max(gaps) < 0.1


def test_weights_favour_the_source_that_knows():
    """The source whose score tells what was bought gets the weight, and no weight is negative."""
    generator = np.random.default_rng(5)
    sizes = np.full(60, 10)
    labels = np.zeros(600, np.float32)
    labels[np.arange(60) * 10 + generator.integers(0, 10, 60)] = 1
    knowing = labels * 0.7 + generator.random(600) * 0.5
    scores = np.stack([generator.random(600), knowing, 1 - knowing], axis=1).astype(np.float32)
    weights = fit_source_weights(scores, labels, sizes)
    assert weights.argmax() == 1
    assert weights[1] == pytest.approx(1.0)
    assert (weights >= 0).all()


def test_weights_are_equal_where_nothing_was_bought():
    """Without a purchase there is nothing to learn, and every source counts the same."""
    weights = fit_source_weights(np.ones((4, 2), np.float32), np.zeros(4, np.float32), np.array([4]))
    assert weights.tolist() == [1.0, 1.0]

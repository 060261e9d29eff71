"""The bag of LambdaMART boosters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from common.onnx_session import OnnxModel, SessionOptions
from pipeline.learning.fusion.lambdamart import RankedExamples, fit_ranking
from pipeline.learning.fusion.trees import LabelledFeatures, calibrate, export_fusion, raw_score
from pipeline.progress import ProgressReport

REQUESTS, SIZE = 120, 20


@pytest.fixture(scope="module")
def examples() -> RankedExamples:
    """Requests whose target has the highest first feature; the second falls with it, the third is noise."""
    generator = np.random.default_rng(2)
    features = generator.normal(size=(REQUESTS, SIZE, 3)).astype(np.float32)
    labels = (features[:, :, 0] == features[:, :, 0].max(axis=1, keepdims=True)).astype(np.float32)
    features[:, :, 1] = -features[:, :, 0]
    features[:, :, 2][generator.random((REQUESTS, SIZE)) < 0.3] = np.nan
    return RankedExamples(features.reshape(-1, 3), labels.ravel(), np.full(REQUESTS, SIZE))


@pytest.fixture(scope="module")
def boosters(examples: RankedExamples) -> list:
    with ProgressReport(Console(quiet=True)).step("fit") as step:
        return fit_ranking(examples, ["up", "down", "noise"], {"down"}, seeds=[1, 2], trees=30, step=step)


def test_learns_the_order(examples: RankedExamples, boosters: list):
    """Most targets come first."""
    scores = raw_score(boosters, examples.features).reshape(REQUESTS, SIZE)
    assert (scores.argmax(axis=1) == examples.labels.reshape(REQUESTS, SIZE).argmax(axis=1)).mean() > 0.8


def test_scores_only_rise_with_what_may_only_rise(boosters: list):
    """Growing the first feature alone never lowers the score."""
    grid = np.zeros((50, 3), np.float32)
    grid[:, 0] = np.linspace(-4, 4, 50)
    assert (np.diff(raw_score(boosters, grid)) >= 0).all()


def test_bag_in_onnx_is_the_boosters_mean(examples: RankedExamples, boosters: list, tmp_path: Path):
    """One graph holds all boosters, and gives the calibrated mean of their scores."""
    fusion = calibrate(boosters, LabelledFeatures(examples.features, examples.labels))
    export_fusion(fusion, tmp_path / "model.onnx", examples.features)
    got = OnnxModel(tmp_path / "model.onnx", SessionOptions(threads=1)).run({"features": examples.features})
    raw = np.mean([booster.predict(examples.features, raw_score=True) for booster in boosters], axis=0)
    assert got == pytest.approx(1 / (1 + np.exp(-(fusion.slope * raw + fusion.intercept))), abs=1e-5)
    assert len(boosters) == 2


def test_a_recipe_may_grow_trees_otherwise(examples: RankedExamples):
    """What a recipe gives takes the place of the parameters here."""
    with ProgressReport(Console(quiet=True)).step("fit") as step:
        stumps, *_ = fit_ranking(
            examples, ["up", "down", "noise"], {"down"}, seeds=[1], trees=3, step=step, growing={"num_leaves": 2}
        )
    assert max(tree["num_leaves"] for tree in stumps.dump_model()["tree_info"]) == 2


def test_examples_are_kept_and_read_again(examples: RankedExamples, tmp_path: Path):
    """What was saved is loaded, and single features can be taken out."""
    examples.save(tmp_path / "deep" / "examples.npz")
    loaded = RankedExamples.load(tmp_path / "deep" / "examples.npz").columns([2])
    np.testing.assert_array_equal(loaded.features[:, 0], examples.features[:, 2])
    assert loaded.sizes.tolist() == examples.sizes.tolist()

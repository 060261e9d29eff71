"""The fusion model."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import BadRelease
from common.onnx_session import OnnxModel, SessionOptions
from common.release.layout import FUSION
from common.release.store import Release
from services.ranking.cascade.fusion_model import FusionModel


def test_the_fusion_takes_missing_features(ranking_release: Release):
    """NaN is a value like any other to it, and no candidates are no work."""
    fusion = FusionModel.load(ranking_release, 12)
    probability = fusion.probability(np.full((3, 12), np.nan, dtype=np.float32))
    np.testing.assert_allclose(probability, 0.5)
    assert fusion.probability(np.empty((0, 12))).shape == (0,)


def test_a_fusion_that_answers_no_probability_is_refused(ranking_release: Release):
    """A model that gives raw scores would be taken for certainty."""
    model = OnnxModel(ranking_release.file(FUSION), SessionOptions())
    model.run = lambda inputs: np.full(len(inputs["features"]), 7.0, np.float32)
    with pytest.raises(BadRelease, match="no probabilities"):
        FusionModel(model, 12)

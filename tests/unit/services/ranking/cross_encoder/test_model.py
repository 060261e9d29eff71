"""Cross-encoder and fusion as they are loaded."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import BadRelease
from common.onnx_session import OnnxModel, SessionOptions
from common.release.layout import FUSION
from common.release.store import Release
from services.ranking.batching.capacity import BatchLimits
from services.ranking.cascade.fusion_model import FusionModel
from services.ranking.cross_encoder.model import CrossEncoder


def test_warming_up_finds_what_batches_cost(ranking_release: Release):
    """After warm-up more tokens cost more, and nothing is free."""
    encoder = CrossEncoder.load(ranking_release, SessionOptions(threads=1))
    cost = encoder.warm_up(BatchLimits(padded_tokens=512, workers=2), longest=37)
    assert cost.batch_ms >= 0
    assert 0 < cost.rows_ms(10) < cost.rows_ms(37)
    assert encoder.provider == "CPUExecutionProvider"


def test_the_cross_encoder_answers_a_logit_for_each_pair(ranking_release: Release):
    """Padding in a row changes nothing."""
    encoder = CrossEncoder.load(ranking_release, SessionOptions(threads=1))
    ids, mask = np.array([[2, 9, 3, 10, 3]]), np.ones((1, 5), np.int64)
    padded = [np.pad(array, ((0, 0), (0, 4))) for array in (ids, mask, 0 * mask)]
    logits = encoder(ids, mask, 0 * mask)
    assert logits.shape == (1,)
    np.testing.assert_allclose(encoder(*padded), logits, atol=1e-5)


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

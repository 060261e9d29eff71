"""The cross-encoder as it is loaded."""

from __future__ import annotations

import numpy as np

from common.onnx_session import SessionOptions
from common.release.store import Release
from services.ranking.batching.capacity import BatchLimits
from services.ranking.cross_encoder.model import CrossEncoder


def test_warming_up_finds_what_batches_cost(ranking_release: Release):
    """After warm-up more tokens cost more, and nothing is free."""
    encoder = CrossEncoder.load(ranking_release, SessionOptions(threads=1))
    cost = encoder.warm_up(BatchLimits(padded_tokens=512, workers=2), max_tokens=37)
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

"""Probabilities in the first stage's order, for occasions in which the fusion did not improve it."""

from __future__ import annotations

import numpy as np

from common.arrays import Float32Array, FloatArray


def in_first_stage_order(probability: Float32Array, first_stage_score: FloatArray) -> Float32Array:
    """Return the probabilities that are nearest to ``probability`` and do not rise in the first stage's order.

    It is isotonic regression by pooling adjacent violators: neighbours in the wrong order get their mean, so the sum of
    the probabilities stays. Equal ones keep the order of the request.

    Args:
        probability: float32[candidates].
        first_stage_score: The first stage's fused score; if one is NaN, the order of the request is the first stage's;
            float32[candidates].

    Returns:
        float32[candidates].

    Source: Barlow et al., Statistical Inference under Order Restrictions, 1972, chapter 1.
    """
    order = np.arange(len(probability))
    if not np.isnan(first_stage_score).any():
        order = np.argsort(-first_stage_score, kind="stable")
    means: list[float] = []
    sizes: list[int] = []
    for value in probability[order].tolist():
        mean, size = value, 1
        while means and means[-1] < mean:
            mean = (mean * size + means[-1] * sizes[-1]) / (size + sizes[-1])
            size += sizes.pop()
            means.pop()
        means.append(mean)
        sizes.append(size)
    ordered = np.empty(len(probability), dtype=np.float32)
    ordered[order] = np.repeat(np.array(means, dtype=np.float32), sizes)
    return ordered

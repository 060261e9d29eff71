"""Metrics of validation lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.measurement.metrics.learning_curve import MEASURE
from pipeline.measurement.metrics.ranking_metrics import evaluate


def list_ndcg(examples: Sequence[RankingExample], logits: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """Return the NDCG@10 of each example's order by logit; lists without a relevant item are left out."""
    relevance, rankings = {}, {}
    for number, (example, scores) in enumerate(zip(examples, logits, strict=True)):
        if example.labels.any():
            relevance[str(number)] = {str(place): float(label) for place, label in enumerate(example.labels)}
            rankings[str(number)] = [str(place) for place in np.argsort(-scores, kind="stable")]
    return evaluate(rankings, relevance, [MEASURE])[MEASURE]

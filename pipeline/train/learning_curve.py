"""How a training went: loss and validation by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from pipeline.metrics import evaluate
from pipeline.train.ranking_lists import RankingExample

MEASURE: Final = "ndcg@10"
VALID_LOSS: Final = "valid_loss"
VALID_MEASURE: Final = f"valid_{MEASURE}"


class LearningCurve(BaseModel):
    """Points (step, value); a step is one update of the weights.

    Attributes:
        loss: Of the lists learned from, the mean since the point before.
        valid_loss: Of the validation lists.
        valid_ndcg: NDCG@10 of the validation lists' order by logit; those without anything relevant are left out.
    """

    model_config = ConfigDict(frozen=True)

    loss: list[tuple[int, float]]
    valid_loss: list[tuple[int, float]]
    valid_ndcg: list[tuple[int, float]]

    @classmethod
    def of(cls, history: Sequence[Mapping[str, Any]]) -> LearningCurve:
        """Read the curve off the trainer's log."""
        return cls(
            loss=_points(history, "loss"),
            valid_loss=_points(history, VALID_LOSS),
            valid_ndcg=_points(history, VALID_MEASURE),
        )


def list_ndcg(examples: Sequence[RankingExample], logits: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """Return the NDCG@10 of each example's order by logit; those without anything relevant are left out."""
    relevance, rankings = {}, {}
    for number, (example, scores) in enumerate(zip(examples, logits, strict=True)):
        if example.labels.any():
            relevance[str(number)] = {str(place): float(label) for place, label in enumerate(example.labels)}
            rankings[str(number)] = [str(place) for place in np.argsort(-scores, kind="stable")]
    return evaluate(rankings, relevance, [MEASURE])[MEASURE]


def _points(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(int(entry["step"]), float(entry[name])) for entry in history if name in entry]

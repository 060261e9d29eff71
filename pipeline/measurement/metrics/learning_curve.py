"""A training run's losses and metrics, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

MEASURE: Final = "ndcg@10"
VALID_LOSS: Final = "valid_loss"
VALID_MEASURE: Final = f"valid_{MEASURE}"


class LearningCurve(BaseModel):
    """A training's losses and metrics as points (step, value); a step is one update of the weights.

    Attributes:
        loss: Of the training lists, the mean since the previous point.
        valid_loss: Of the validation lists.
        valid_ndcg: NDCG@10 of the validation lists by logit, without lists that have no relevant item.
    """

    model_config = ConfigDict(frozen=True)

    loss: list[tuple[int, float]]
    valid_loss: list[tuple[int, float]]
    valid_ndcg: list[tuple[int, float]]

    @classmethod
    def from_history(cls, history: Sequence[Mapping[str, Any]]) -> LearningCurve:
        """Read the curve from the trainer's log."""
        return cls(
            loss=_points(history, "loss"),
            valid_loss=_points(history, VALID_LOSS),
            valid_ndcg=_points(history, VALID_MEASURE),
        )


def _points(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(int(entry["step"]), float(entry[name])) for entry in history if name in entry]

"""A training run's losses and metrics, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

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


def _points(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(int(entry["step"]), float(entry[name])) for entry in history if name in entry]

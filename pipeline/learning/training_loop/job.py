"""The folder of a training: job, lists, checkpoints, model and learning curve.

The folder is all that the processes of a training share, so any later run can resume after a kill.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

JOB: Final = "job.json"
TRAIN: Final = "train.arrow"
VALID: Final = "valid.arrow"
MODEL: Final = "model"
CURVE: Final = "curve.json"


class Job(BaseModel):
    """The inputs of a training.

    Attributes:
        base_model: Folder with the base model's configuration and weights.
        layers, learning_rate, head_learning_rate, requests_per_step, epochs, warm_up_steps, seed: See
            `CrossEncoderTraining`.
        checkpoint_steps: Number of steps between checkpoints.
        lists: SHA-256 of the training and validation lists; other lists make another job.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_model: str
    layers: int
    learning_rate: float
    head_learning_rate: float
    requests_per_step: int
    epochs: int
    warm_up_steps: int
    seed: int
    checkpoint_steps: int
    lists: tuple[str, str]

"""A training as a folder: what is trained, and what comes of it.

`job.json` has the settings; beside it lie the lists, checkpoints, and in the end the model and its learning curve. So
the processes need nothing from the one that started them, and after a kill any other run goes on.
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
    """What is trained.

    Attributes:
        base_model: Folder with the base model's configuration and weights.
        layers, learning_rate, head_learning_rate, requests_per_step, epochs, warm_up_steps, seed: See
            `CrossEncoderTraining`.
        checkpoint_steps: After how many steps a checkpoint is written.
        lists: SHA-256 of the lists, those learned from and those of validation: others make another job.
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

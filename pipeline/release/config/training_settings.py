"""Settings of training runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from common.errors import InvalidRequest


@dataclass(frozen=True)
class CrossEncoderTraining:
    """How the cross-encoder is fine-tuned.

    Attributes:
        layers: How many of the base model's layers it keeps, the lowest; fewer are faster.
        learning_rate: Of the layers; falls linearly to 0 after the warm-up.
        head_learning_rate: Of the pooler and the classifier, which are new or never trained.
        requests_per_step: Examples a step, over all processes.
        epochs: Passes over the examples.
        warm_up_steps: Steps in which the rates rise from 0.
        seed: Of initialisation and order.
        processes: How many processes share each step; one per GPU, if there are GPUs. Another number sums in another
            order, which changes the last digits of the weights, so it is part of a release's settings.
    """

    layers: int = 3
    learning_rate: float = 3e-4
    head_learning_rate: float = 1e-3
    requests_per_step: int = 8
    epochs: int = 1
    warm_up_steps: int = 10
    seed: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if self.processes < 1 or self.requests_per_step % self.processes:
            raise InvalidRequest(
                f"{self.processes} processes cannot share {self.requests_per_step} requests a step evenly; "
                "choose a number of processes that divides requests_per_step"
            )


@dataclass(frozen=True)
class EncoderTraining:
    """How the encoder is fine-tuned.

    Attributes:
        learning_rate: Rises during the warm-up, then falls linearly to 0.
        queries_per_step: Examples a step; each one's items are negatives of the others.
        epochs: Passes over the examples; 0 leaves the base model as it is.
        warm_up_steps: Steps in which the rate rises from 0.
        mined: Number of hard negatives of each query or user: near items by the base model that are unjudged or
            never taken; 0 for none.
        mined_from: Rank of the first of them: the nearest items are often relevant without a label.
        graded_share: Weight of the term that orders cosines by grade.
        seed: Of the order.
    """

    learning_rate: float = 1e-4
    queries_per_step: int = 16
    epochs: int = 1
    warm_up_steps: int = 50
    mined: int = 0
    mined_from: int = 30
    graded_share: float = 1.0
    seed: int = 0


# The default for purchases.
ON_PURCHASES: Final = EncoderTraining(learning_rate=5e-5, mined=4, mined_from=10)


@dataclass(frozen=True)
class LateTraining:
    """How the tower is trained.

    Attributes:
        layers: How many of the base model's layers it keeps, the lowest.
        width: Of the vectors.
        learning_rate: Of the layers; falls linearly to 0 after a warm-up.
        head_learning_rate: Of what is new.
        distillation: Weight of the squared distance to the cross-encoder's logit in the loss.
        requests_per_step: Examples a step.
        epochs: Passes over the examples.
        seed: Of initialisation and order.
    """

    layers: int = 6
    width: int = 128
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    distillation: float = 0.5
    requests_per_step: int = 16
    epochs: int = 2
    seed: int = 0

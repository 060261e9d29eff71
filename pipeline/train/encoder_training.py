"""How the encoder is fine-tuned; apart, so that settings can be read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class EncoderTraining:
    """How the encoder is fine-tuned.

    Attributes:
        learning_rate: Rises during the warm-up, then falls linearly to 0.
        queries_per_step: Examples a step; each one's items are negatives of the others.
        epochs: Passes over the examples; 0 leaves the base model as it is.
        warm_up_steps: Steps in which the rate rises from 0.
        mined: Items near each query or person by the base model, unjudged or never taken, that count as negatives; 0
            for none.
        mined_from: From which rank on they are taken: the nearest are often good, though nothing says so.
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


# Where purchases are learned from, unless settings say otherwise.
ON_PURCHASES: Final = EncoderTraining(learning_rate=5e-5, mined=4, mined_from=10)

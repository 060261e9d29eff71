"""How the encoder is fine-tuned; apart, so that settings can be read without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EncoderTraining:
    """How the encoder is fine-tuned.

    Attributes:
        learning_rate: Rises during the warm-up, then falls linearly to 0.
        queries_per_step: Examples a step; each one's items are negatives of the others.
        epochs: Passes over the examples; 0 leaves the base model as it is.
        warm_up_steps: Steps in which the rate rises from 0.
        mined: Unjudged items of each query, near it by the base model, that count as negatives; 0 for none.
        mined_from: From which rank on they are taken: the nearest are often good, though nobody judged them.
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

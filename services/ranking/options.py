"""How a second stage runs, whatever the release."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.onnx_session import SessionOptions
from services.ranking.capacity import BatchLimits
from services.ranking.late_interaction import LateOptions
from services.ranking.pair_reader import LEAST_SHARE


@dataclass(frozen=True)
class Options:
    """How a second stage runs.

    Attributes:
        session: How the cross-encoder's session is made.
        limits: The bounds of batches and queue.
        cached_scores: How many logits to keep; 0 for none.
        threads: Threads for features, tokenising, late interaction and fusion.
        least_share: Where other calls leave time to read less than this share of what could be read without them,
            nothing is read.
        late: How late interaction runs.
    """

    session: SessionOptions = field(default_factory=SessionOptions)
    limits: BatchLimits = field(default_factory=BatchLimits)
    cached_scores: int = 100_000
    threads: int = 1
    least_share: float = LEAST_SHARE
    late: LateOptions = field(default_factory=LateOptions)

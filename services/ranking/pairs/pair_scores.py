"""The cross-encoder's logits of pairs, and what reading them took."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PairResult:
    """The scores of a request's pairs, and how many were read for it.

    Attributes:
        scores: The logits, NaN for pairs that there was no time to read or that the model failed on.
        read: How many distinct pairs were read for this request.
        reused: How many distinct pairs came from the cache or from other calls' readings.
        skipped: How many distinct pairs there was no time to read, or the model failed on.
    """

    scores: PairScores
    read: int = 0
    reused: int = 0
    skipped: int = 0


@dataclass
class PairScores:
    """The logits of one call's pairs.

    Attributes:
        logits: NaN for a pair that was not read or that the model failed on; float32[pairs].
        queue_wait_ms: The longest time that a pair waited for its batch.
        infer_ms: The total time of the batches that held these pairs.
        padded_tokens: How many tokens these pairs have, padding included.
        delivered: How many pairs the model was run on.
        read_at: When the last of them was read, in seconds of the batcher's clock; NaN before.
    """

    logits: npt.NDArray[np.float32]
    queue_wait_ms: float = 0.0
    infer_ms: float = 0.0
    padded_tokens: int = 0
    delivered: int = 0
    read_at: float = math.nan

    @classmethod
    def unread(cls, pairs: int) -> PairScores:
        """Return the scores of pairs before any was read."""
        return cls(np.full(pairs, np.nan, dtype=np.float32))

    @property
    def failed(self) -> int:
        """How many pairs have no logit."""
        return int(np.count_nonzero(np.isnan(self.logits)))

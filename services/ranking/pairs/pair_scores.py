"""What the cross-encoder says of pairs, and what that took."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PairResult:
    """What became of a request's pairs.

    Attributes:
        scores: The logits, NaN where there was no time to read or the model failed; and what reading took.
        read: How many distinct pairs were read for this request.
        reused: How many distinct pairs came from the cache or from other callers' batches.
        unread: How many distinct pairs there was no time to read, or the model failed on.
    """

    scores: PairScores
    read: int = 0
    reused: int = 0
    unread: int = 0


@dataclass
class PairScores:
    """The logits of one caller's pairs.

    Attributes:
        logits: One a pair, NaN where the model failed on the pair or did not read it; float32[pairs].
        queue_wait_ms: The longest that a pair waited for its batch.
        infer_ms: The batches that held these pairs, together.
        padded_tokens: The tokens of these pairs, padding included.
        delivered: How many pairs the model was run on.
        read_at: When the last of these was read, in seconds of the batcher's clock; NaN before.
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
        """How many pairs have no logit: the model failed on them, or they were not read."""
        return int(np.count_nonzero(np.isnan(self.logits)))

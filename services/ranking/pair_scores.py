"""What the cross-encoder says of pairs, and what that took."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt


@dataclass
class PairScores:
    """The logits of one caller's pairs.

    Attributes:
        logits: In the order of the pairs, NaN where the model failed on the pair or did not read it; float32[pairs].
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

    def snapshot(self) -> PairScores:
        """Return the scores as they are now, whatever arrives later."""
        return replace(self, logits=self.logits.copy())

    @property
    def failed(self) -> int:
        """How many pairs have no logit: the model failed on them, or they were not read."""
        return int(np.isnan(self.logits).sum())

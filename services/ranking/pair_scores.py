"""What the cross-encoder says of pairs, and what that took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass
class PairScores:
    """The logits of one caller's pairs.

    Attributes:
        logits: In the order of the pairs, NaN where the model failed on the pair; float32[pairs].
        queue_wait_ms: The longest that a pair waited for its batch.
        infer_ms: The batches that held these pairs, together.
        padded_tokens: The tokens of these pairs, padding included.
    """

    logits: npt.NDArray[np.float32]
    queue_wait_ms: float = 0.0
    infer_ms: float = 0.0
    padded_tokens: int = 0

    @classmethod
    def unread(cls, pairs: int) -> PairScores:
        """Return the scores of pairs before any was read."""
        return cls(np.full(pairs, np.nan, dtype=np.float32))

    @property
    def failed(self) -> int:
        """How many pairs the model failed on."""
        return int(np.isnan(self.logits).sum())

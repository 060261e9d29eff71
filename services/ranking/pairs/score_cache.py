"""A least-recently-used cache of the logits of pairs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Identifies an item's text: its catalogue row in a release, whose texts never change, or its token ids.
ItemKey = int | bytes


class ScoreCache:
    """Logits of one model by user context and item; not safe to share between threads.

    Not a `common.cache.LruCache`, which locks for each key: one call looks up hundreds of items, on one event loop.

    Args:
        size: How many logits to keep at most, about 200 bytes each; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._logits: OrderedDict[tuple[bytes, ItemKey], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._logits)

    def find(self, context: bytes, items: Sequence[ItemKey]) -> npt.NDArray[np.float32]:
        """Return the logits of items for a context, NaN if unknown; float32[items]."""
        logits = np.full(len(items), np.nan, dtype=np.float32)
        if not self.size:
            return logits
        for index, item in enumerate(items):
            logit = self._logits.get((context, item))
            if logit is not None:
                logits[index] = logit
                self._logits.move_to_end((context, item))
        return logits

    def put(self, context: bytes, items: Sequence[ItemKey], logits: npt.NDArray[np.float32]) -> None:
        """Add logits other than NaN, and drop the least recently used beyond the size."""
        if not self.size:
            return
        for item, logit in zip(items, logits.tolist(), strict=True):
            if logit == logit:  # noqa: PLR0124 - NaN alone differs from itself
                self._logits[context, item] = logit
                self._logits.move_to_end((context, item))
        while len(self._logits) > self.size:
            self._logits.popitem(last=False)

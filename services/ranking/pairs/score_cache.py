"""Logits of pairs that were read before, bounded and least recently used first out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# What tells an item's text apart: its catalogue row in a release, whose texts never change, or its token ids.
ItemKey = int | bytes


class ScoreCache:
    """Logits by user context and item. Lives and dies with a model; not safe to share between threads.

    Args:
        entries: How many logits to keep at most; 0 keeps none. An entry takes about 200 bytes.
    """

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self._logits: OrderedDict[tuple[bytes, ItemKey], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._logits)

    def find(self, context: bytes, items: Sequence[ItemKey]) -> npt.NDArray[np.float32]:
        """Return the logits of items beside a context, NaN where unknown; shape [items]."""
        logits = np.full(len(items), np.nan, dtype=np.float32)
        if not self.entries:
            return logits
        for place, item in enumerate(items):
            logit = self._logits.get((context, item))
            if logit is not None:
                logits[place] = logit
                self._logits.move_to_end((context, item))
        return logits

    def keep(self, context: bytes, items: Sequence[ItemKey], logits: npt.NDArray[np.float32]) -> None:
        """Remember logits, those that are NaN left out, and forget the least recently used past the bound."""
        if not self.entries:
            return
        for item, logit in zip(items, logits.tolist(), strict=True):
            if logit == logit:  # noqa: PLR0124 - NaN alone differs from itself
                self._logits[context, item] = logit
                self._logits.move_to_end((context, item))
        while len(self._logits) > self.entries:
            self._logits.popitem(last=False)
